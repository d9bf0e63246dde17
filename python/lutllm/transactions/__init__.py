"""The accelerator task by task, without hardware: what each task computes (`simulator`), and when (`predicted`)."""

"""`--mlir-pass-pipeline-crash-reproducer` and `--run-reproducer`: the IR and the pipeline that failed, in one file.

The form is MLIR's: the module, and the pipeline as an external resource. So MLIR's tools read ours and we read theirs.
"""

import re
import sys
from pathlib import Path

from lutllm.bindings import ir
from lutllm.errors import InputError
from lutllm.passes import Pipeline
from lutllm.tools.opt.input import Source, unescape
from lutllm.tools.opt.output import write
from lutllm.tools.opt.printing import Form

IGNORED = "ignoring unknown external resources for 'mlir_reproducer'"  # the bindings' parser knows no reproducers
_FORM = Form(debug_info=True)
_RESOURCE = """
{-#
  external_resources: {
    mlir_reproducer: {
      pipeline: "%s",
      disable_threading: true,
      verify_each: %s
    }
  }
#-}
"""
_FOUND = re.compile(
    rb'^\s*mlir_reproducer: \{\s*pipeline: ("(?:[^"\\\n]|\\.)*"),'
    rb"\s*disable_threading: \w+,\s*verify_each: (true|false)",
    re.MULTILINE,
)


class Reproducer:
    """After the run the file is there exactly where a pipeline failed: the first that did.

    A crash gives no warning. The file is therefore written before each pipeline, and dropped after one that is well.
    """

    def __init__(self, name: str, verify_each: bool) -> None:
        self.name = name
        self.verify_each = verify_each
        self.written = self.kept = False

    def begin(self, module: ir.Module, pipeline: Pipeline) -> None:
        if not self.kept:
            text = str(pipeline.tree).replace("\\", "\\\\").replace('"', '\\"')
            resource = _RESOURCE % (text, str(self.verify_each).lower())
            write(self.name, _FORM.text(module.operation) + resource.encode())
            self.written = True

    def drop(self) -> None:
        """The pipeline ended well."""
        if self.written and not self.kept and Path(self.name).is_file():  # not /dev/null
            Path(self.name).unlink()
        self.written = self.kept

    def keep(self) -> None:
        """If a file has been written and not dropped, say so, once."""
        if self.written and not self.kept:
            print(f"note: the IR and the pipeline that failed are in '{self.name}'", file=sys.stderr)
            self.kept = True


def reproduced(source: Source) -> tuple[str, bool]:
    """The pipeline that a reproducer holds, and whether to verify after each pass."""
    found = _FOUND.search(source.data)
    if found is None:
        raise InputError(f"expected '{source.name}' to hold an mlir_reproducer resource, got none")
    return unescape(found[1]).decode("utf-8", "replace"), found[2] == b"true"

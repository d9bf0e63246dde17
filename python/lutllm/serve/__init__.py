"""A model for clients of OpenAI's API: `requests` reads what they ask, `engine` makes answers, `app` speaks HTTP."""

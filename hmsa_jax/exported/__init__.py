"""Networks as files that run without this project; `model.py` alone opens one."""

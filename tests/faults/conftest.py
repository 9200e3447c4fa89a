"""What is not looked at for examples."""

# It imports fusepy, which need not be installed: the test of it says so.
collect_ignore = ["late_disk.py"]

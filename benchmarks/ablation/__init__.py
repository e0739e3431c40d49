"""What each technique buys: a training step with all of them but one."""

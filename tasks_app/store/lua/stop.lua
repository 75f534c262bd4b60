-- Records a stop request for a task and all that it started; what has not started ends here, what
-- runs is told by a command.
-- KEYS  1 prefix
-- ARGV  1 id · 2 who · 3 why
-- RETURN 0 no such task · 1 canceled on the spot · 2 canceling (its owner was told) · 3 finished already
return stop_tree(ARGV[1], ARGV[2], ARGV[3])

// Package runner decides what runs when. For each case (a workload with a number of threads and a
// size) it opens every implementation, finds out how many operations fill the bench time, and
// goes round by round. In each round every implementation runs once, in an order drawn from the
// seed, so that disturbances of the machine affect all of them alike. The results are medians and
// extremes over the rounds.
//
//	Plan -> []Case -> Run -> for each case: open, calibrate, rounds, close -> Report
//	parent: startProcess -> call(hello) -> call(run)... -> close
//	child:  ServeChild   -> answer ...                  -> end of input
//
// Go loops run in this process. C loops need another malloc, and whole heaps must not mix, so both
// run in child processes: the program executes itself again with childEnv set, and main and every
// TestMain call ServeChild first, which then never returns. Requests and answers are JSON, one to
// a line, on stdin and stdout; stderr is for errors. A child of a native implementation lives for
// the whole suite, so that it can take turns with others, a child with a heap for one case. A
// child that dies or hangs becomes the error of the pending call.
//
// Everything here is sequential: two measurements never overlap.
package runner

// Package child runs parts of the suite in processes of their own: native
// allocators, which are preloaded, and whole heaps, which must not mix.
//
// The program executes itself again with Env set; main and every TestMain
// call Main first, which serves such a process and never returns. Requests
// and answers are JSON, one a line, on stdin and stdout; stderr is for last
// words. A child lives as long as its parent wants measurements from it, so
// that runs of different allocators can take turns, and ends when its stdin
// closes. One that dies or hangs becomes an error of the pending Call.
//
//	parent: Start -> Call(hello) -> Call(run)... -> Close
//	child:  Main  -> answer ...                  -> end of input
package child

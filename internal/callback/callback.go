// Package callback calls functions of the user's: constructors, destructors, hooks and reports.
//
// Such a function may panic, and the panic may be recovered by the user further out. It may also
// end its goroutine (runtime.Goexit). In either case it doesn't return, and only deferred calls
// run. Whatever the caller has in its hands must then find a place: with Guard and Each the caller
// says where. No function of the user's is called while the goroutine unwinds if it can be called
// later; what has still to be done is left to another goroutine.
//
// A function of the user's may call into the allocator. Where it must not, Inside says that the
// caller is such a function. That costs the callbacks nothing: Inside looks for Run, Ask and Get on
// the stack of its own goroutine.
//
// The package owns no memory, takes no lock and imports only the standard library.
package callback

import (
	"runtime"
	"strings"
)

// Run calls a function of the user's. It is inlined, and costs the call of f.
func Run[A any](f func(A), arg A) { f(arg) }

// Ask is Run for a function with an answer.
func Ask[A, R any](f func(A) R, arg A) R { return f(arg) }

// Get is Ask for a function without an argument.
func Get[R any](f func() R) R { return f() }

// Guard calls do. If do doesn't return, because a callback in it has panicked or has ended the
// goroutine, Guard calls lost before the goroutine goes on to unwind. It costs two nanoseconds
// more than do.
func Guard(do, lost func()) {
	returned := false
	defer func() {
		if !returned {
			lost()
		}
	}()
	do()
	returned = true
}

// Each calls do with each element, once. If a call doesn't return, the calls for the elements
// behind it are made while the goroutine unwinds.
func Each[E any](list []E, do func(E)) {
	next := 0
	defer func() {
		if next < len(list) {
			Each(list[next:], do)
		}
	}()
	for next < len(list) {
		next++
		do(list[next-1])
	}
}

// prefix begins the names of this package's functions in stacks.
const prefix = "github.com/slubd/slubd/internal/callback."

// Inside reports whether the caller was called, directly or not, by a function that Run, Ask or Get
// has called on this goroutine and that has not returned. It walks the goroutine's stack, which
// takes some microseconds.
//
// While a goroutine unwinds, its stack still has the frames of the callback that didn't return,
// below those of the deferred call that is running. That is most likely a deferred call of the
// user's further out, such as a deferred Close, which is outside all callbacks. So Inside looks no
// further than to the panic or the Goexit, and takes a deferred call of the callback itself for
// one from outside.
func Inside() bool {
	var first [64]uintptr
	// 2: without runtime.Callers and Inside. Callers walks what it skips, too, so each look takes
	// twice as many as all before: a deep stack costs its depth, not the square of it.
	for pcs, skip := first[:], 2; ; pcs = make([]uintptr, 2*skip) {
		n := runtime.Callers(skip, pcs)
		if n == 0 {
			return false
		}
		skip += n
		frames := runtime.CallersFrames(pcs[:n])
		for more := true; more; {
			var f runtime.Frame
			f, more = frames.Next()
			switch name := f.Function; {
			case name == "runtime.gopanic", name == "runtime.Goexit":
				return false
			case strings.HasPrefix(name, prefix+"Run["), strings.HasPrefix(name, prefix+"Ask["), strings.HasPrefix(name, prefix+"Get["):
				return true
			}
		}
	}
}

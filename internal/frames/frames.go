// Package frames tells the allocator's functions from those of its users in a call stack.
//
// A stack that was taken for a sample, a guarded object or a report begins inside the allocator.
// What its reader looks for is the first line outside: package slub, the profile, the pages and
// slub/slubtest all ask this package where that is.
//
// The package has no state and imports only the standard library.
package frames

import "strings"

// own are the beginnings of names of the allocator's functions, behind the module's path. An engine
// without sequences passes through internal/percpu, and what has a callback through
// internal/callback.
var own = []string{"slub.", "slub/internal/", "sheaves.", "internal/", "rcu."}

// Own reports whether a function with this name, as runtime.Frame has it, belongs to the allocator.
// Any goroutine.
func Own(function string) bool {
	name, ours := strings.CutPrefix(function, "github.com/slubd/slubd/")
	if !ours {
		return false
	}
	for _, prefix := range own {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// Package invariants turns the equations in the types' comments into checks
// that exist only in builds with -tags invariants or -race. Call sites guard
// with Enabled, so that release builds compile neither the check nor its
// arguments:
//
//	if invariants.Enabled {
//		invariants.Check(n <= c, "sheaf holds %d of %d", n, c)
//	}
//
// It imports nothing of the module; every package may import it.
package invariants

import "fmt"

// Check panics with the formatted text when ok is false. A broken equation
// means that memory has been corrupted or that slubd has a bug; going on would
// hide which.
func Check(ok bool, format string, args ...any) {
	if !ok {
		panic("slubd: invariant broken: " + fmt.Sprintf(format, args...))
	}
}

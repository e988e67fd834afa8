// Package invariants turns the equations in the types' comments into checks that exist only in
// builds with -tags invariants or -race. Call sites test Enabled first, so that other builds
// contain neither the check nor its arguments:
//
//	if invariants.Enabled {
//		invariants.Check(n <= c, "sheaf holds %d of %d", n, c)
//	}
//
// It imports nothing of the module; every package may import it.
package invariants

import "fmt"

// Check panics with the formatted text if ok is false. A broken equation means that memory has been
// corrupted or that slubd has a bug; if the process went on, the cause would be harder to find.
func Check(ok bool, format string, args ...any) {
	if !ok {
		panic("slubd: invariant broken: " + fmt.Sprintf(format, args...))
	}
}

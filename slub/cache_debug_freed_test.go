//go:build !asan

package slub

import (
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/hooks"
)

// What a Free finds beside an object was written while the object was in use: the report names the
// call that has allocated it, and none that has freed it before. What comes to light after a grace
// period names FreeRCU's caller.
func TestOverrunIsNotOfAFreedObject(t *testing.T) {
	for name, size := range map[string]int{"object": 100, "run": 100_000, "mapping": 9 << 20} {
		for _, hooked := range []bool{false, true} {
			for _, rcu := range []bool{false, true} {
				var reports []*hooks.Report
				h := hooks.Hooks{Report: func(r *hooks.Report) { reports = append(reports, r) }}
				if hooked {
					h.Free = func(hooks.Object) bool { return false }
				}
				b := openBuckets(t, nil, BucketsConfig{Name: "overrun", Debug: "FZPU", Hooks: h})
				p := malloc(t, b, size)
				*(*byte)(unsafe.Add(p, size)) = 0
				if rcu {
					b.FreeRCU(p)
					same(t, "Barrier", b.Barrier(t.Context()), nil)
				} else {
					b.Free(p)
				}
				if len(reports) != 1 || reports[0].Kind != hooks.RedZoneOverwritten {
					t.Fatalf("%s, hooked %t, FreeRCU %t: reports %v", name, hooked, rcu, reports)
				}
				r := reports[0]
				if len(r.Allocated) == 0 || (len(r.Freed) > 0) != rcu || strings.Contains(r.History, "Freed ") != rcu {
					t.Errorf("%s, hooked %t, FreeRCU %t: %+v", name, hooked, rcu, r)
				}
			}
		}
	}
}

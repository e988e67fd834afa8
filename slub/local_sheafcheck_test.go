//go:build invariants && !race && !asan

package slub

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/percpu"
)

// A Local that has taken a number from a sheaf which is no object goes on with the others: in
// builds with invariants, whose Locals look.
func TestLocalOfOverwrittenSheaf(t *testing.T) {
	withoutSamples(t)
	reports := 0
	h := hooks.Hooks{Report: func(*hooks.Report) { reports++ }}
	c := open(t, nil, Config{Size: 64, Hardened: None, Hooks: h})
	pinned(t, 0, func() {
		freeAll(c, take(t, c, 20))
		overwriteSheaf(t, c, percpu.Main, 8, 2)
		l, err := c.NewLocal(32)
		same(t, "NewLocal", err, nil)
		got := map[unsafe.Pointer]bool{}
		for range 40 {
			p, err := l.Alloc()
			same(t, "Alloc", err, nil)
			if got[p] {
				t.Errorf("%p is handed out twice", p)
			}
			got[p] = true
		}
		for p := range got {
			l.Free(p)
		}
		l.Close()
		c.Shrink()
	})
	if s := c.Stats(); reports != 2 || s.InUse != 2 {
		t.Errorf("%d reports; %d objects are in use, want the two that were overwritten", reports, s.InUse)
	}
}

//go:build !race

package slub

import (
	"errors"
	"syscall"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/rcu"
)

// What the kernel refuses is not charged, whichever call it refuses, and New that fails leaves the
// group as it was.
func TestGroupWhenKernelRefuses(t *testing.T) {
	g := newGroup(t, GroupConfig{Parent: newGroup(t, GroupConfig{})})
	for what, call := range map[string]sys.Call{"addresses": sys.CallReserve, "write access": sys.CallProtect} {
		t.Run(what, func(t *testing.T) {
			a := newArena(t, arena.Config{Span: 64 * mib})
			b := openBuckets(t, a, BucketsConfig{Group: g})
			restore := sys.FailNth(call, 0, syscall.ENOMEM)
			var kept []unsafe.Pointer
			for range 200 {
				if p, err := b.Malloc(maxRun / 2); err == nil {
					kept = append(kept, p)
				}
			}
			_, err := b.Malloc(2 * maxRun)
			if restore(); !errors.Is(err, ErrNoMemory) || errors.Is(err, ErrGroupLimit) {
				t.Errorf("a mapping: %v", err)
			}
			if s := g.Stats(); s.Bytes != a.InUse() || s.Bytes != g.Parent().Stats().Bytes {
				t.Errorf("%d bytes are charged, %d in use", s.Bytes, a.InUse())
			}
			freeAllBy(b.Free, kept)
		})
	}
	before, failed := g.Stats(), 0
	a := newArena(t, arena.Config{})
	for n := range 5 {
		cellsLeft(t, n)
		restore := sys.FailNth(sys.CallReserve, 1, syscall.ENOMEM)
		c, err := New(a, Config{Size: 64, Group: g, Domain: new(rcu.Domain)})
		if restore(); err == nil {
			err = c.Close()
		} else {
			failed++
		}
		if now := g.Stats(); now.Bytes != before.Bytes || now.Caches != before.Caches || g.joining != 0 {
			t.Errorf("%v: %+v, %d are joining", err, now, g.joining)
		}
	}
	if failed == 0 {
		t.Error("New never failed")
	}
}

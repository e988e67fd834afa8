package slub

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/rcu"
)

// A link that somebody wrote over is reported; what it hid stays on record, and Close
// tells where it is.
func TestBrokenChain(t *testing.T) {
	for name, wrong := range map[string]func(l *layer, p uintptr) uint64{
		"out of the arena": func(*layer, uintptr) uint64 { return 0xdead << 40 },
		"the slab's waste": func(l *layer, p uintptr) uint64 {
			s := l.slabOf(p)
			return l.encode(p+l.fp, l.object(s, s.objects))
		},
	} {
		t.Run(name, func(t *testing.T) { breakChain(t, wrong) })
	}
}

func breakChain(t *testing.T, wrong func(l *layer, p uintptr) uint64) {
	c := openTattler(t, nil, Config{Size: 64, Ctor: func(unsafe.Pointer) {}, Domain: new(rcu.Domain)})
	again := noMemory(t, 0)
	release := holdStacks(c.Cache, percpu.RCU)
	ps := take(t, c.Cache, 6)
	freeRCU(c.Cache, ps)
	release()
	again()
	const hidden = 2
	*mem.At[uint64](uintptr(ps[hidden]) + c.layout.fp) = wrong(c.slabs, uintptr(ps[hidden]))
	same(t, "Close", c.Close(), ErrBusy)
	if len(c.reports) != 1 || c.reports[0].Kind != hooks.FreelistCorrupt || c.reports[0].Addr != uintptr(ps[hidden]) {
		t.Errorf("reports %v", c.reports)
	}
	if n, left := c.Stats().Backlog.Bytes, c.rcuQueue.pending.Load(); n != 0 || left != 0 {
		t.Errorf("%d bytes and %d objects wait, of those that are lost", n, left)
	}
	for _, p := range ps[:hidden] {
		c.slabs.free(uintptr(p))
	}
}

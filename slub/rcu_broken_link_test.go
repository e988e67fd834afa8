package slub

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/rcu"
)

// An overwritten link in the queue is reported. The objects behind it still count, and Close
// reports their addresses.
func TestBrokenChain(t *testing.T) {
	for name, damage := range map[string]func(c *Cache, p unsafe.Pointer){
		"out of the arena": func(c *Cache, p unsafe.Pointer) { smashLink(c, p) },
		"the slab's waste": func(c *Cache, p unsafe.Pointer) {
			c.slabs.SetNext(uintptr(p), slabOf(c, p)+uintptr(c.perSlab)*c.layout.slot)
		},
	} {
		t.Run(name, func(t *testing.T) { breakChain(t, damage) })
	}
}

func breakChain(t *testing.T, damage func(c *Cache, p unsafe.Pointer)) {
	c := openRecorder(t, nil, Config{Size: 64, Ctor: func(unsafe.Pointer) {}, Domain: new(rcu.Domain)})
	again := noMemory(t, 0)
	release := holdStacks(c.Cache, percpu.RCU)
	ps := take(t, c.Cache, 6)
	freeRCU(c.Cache, ps)
	release()
	again()
	const hidden = 2
	damage(c.Cache, ps[hidden])
	same(t, "Close", c.Close(), ErrBusy)
	if len(c.Reports) != 1 || c.Reports[0].Kind != hooks.FreelistCorrupt || c.Reports[0].Addr != uintptr(ps[hidden]) {
		t.Errorf("reports %v", c.Reports)
	}
	if n, left := c.Stats().Backlog.Bytes, c.freeQueue.Pending(); n != 0 || left != 0 {
		t.Errorf("%d bytes and %d objects wait, of those that are lost", n, left)
	}
	for _, p := range ps[:hidden] {
		c.slabs.Free(p)
	}
}

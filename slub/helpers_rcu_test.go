package slub

import (
	"context"
	"math"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub/internal/freequeue"
)

// A dtorCounter is a cache whose destructor counts its calls.
type dtorCounter struct {
	*Cache
	Died atomic.Int64
}

func openDtorCounter(t *testing.T, a *arena.Arena, cfg Config) *dtorCounter {
	m := new(dtorCounter)
	cfg.Domain = new(rcu.Domain)
	cfg.RCUDtor = func(unsafe.Pointer) { m.Died.Add(1) }
	if cfg.Size == 0 {
		cfg.Size = 64
	}
	m.Cache = open(t, a, cfg)
	return m
}

func freeRCU(c *Cache, ps []unsafe.Pointer) {
	for _, p := range ps {
		c.FreeRCU(p)
	}
}

// noMemory makes all mappings fail until again is called or the test ends. Of the queues' reserve
// it leaves the given number of pages.
func noMemory(t *testing.T, reserve int) (again func()) {
	t.Helper()
	restore := sys.FailNth(sys.CallReserve, 0, syscall.ENOMEM)
	var hoard freequeue.Hoard
	for hoard.Take() {
	}
	again = func() {
		restore()
		hoard.Give(math.MaxInt)
	}
	t.Cleanup(again)
	if all, ofReserve := hoard.Count(); ofReserve != freequeue.ReservePages {
		t.Fatalf("of %d pages without memory %d are of the reserve, which has %d", all, ofReserve, freequeue.ReservePages)
	}
	hoard.Give(reserve)
	return again
}

// register adds an online reader. It holds up grace periods until the test has it report.
func register(t *testing.T, d *rcu.Domain) *rcu.Reader {
	r := d.Register("test")
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// holdStacks locks each CPU's stack of the given kind, until release is called.
func holdStacks(c *Cache, kind percpu.Kind) (release func()) {
	var held []*percpu.Stack
	for cpu := range percpu.NumCPU() {
		held = append(held, c.stacks.LockCPU(cpu, kind))
	}
	return func() {
		for _, st := range held {
			st.Unlock()
		}
	}
}

// usedBytes returns the bytes that the arena has handed out, after the grace period that slabs of
// TypesafeByRCU wait for.
func usedBytes(t *testing.T, a *arena.Arena, d *rcu.Domain) (n int64) {
	t.Helper()
	same(t, "Barrier", d.Barrier(context.Background()), nil)
	for _, node := range a.Stats().Nodes {
		n += node.Used
	}
	return n
}

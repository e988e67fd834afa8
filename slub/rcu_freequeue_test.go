package slub

import (
	"context"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub/internal/freequeue"
)

// FreeRCU has several fallbacks. With each of them every object is destroyed exactly once, after
// its readers have reported, and is free then. Refusals are counted where the kernel counts them.
func TestFallbacks(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	const n = 3 * freequeue.PageCap / 2
	outside := func(unsafe.Pointer) {} // with a constructor the free pointer is behind the object
	for name, tt := range map[string]struct {
		cfg    Config
		held   bool // the CPUs' stacks are locked
		noMem  bool // all mappings fail
		pages  int  // pages of the reserve that are left while mappings fail
		noWait bool // FreeRCUNoWait is called
		online bool // a reader is online all the time
		fails  uint64
		queue  QueueStats
		pushes uint64 // objects that sheaves take
	}{
		"stack held":                   {held: true, online: true, fails: n},
		"no memory for sheaves":        {cfg: Config{SheafCapacity: 16000}, noMem: true, pages: 2, online: true, fails: n},
		"nor for pages, links outside": {cfg: Config{Ctor: outside}, held: true, noMem: true, online: true, fails: n, queue: QueueStats{Linked: n}},
		"one page, then links":         {cfg: Config{Ctor: outside}, held: true, noMem: true, pages: 1, online: true, fails: n, queue: QueueStats{Linked: n - freequeue.PageCap}},
		"nor for pages, no links":      {held: true, noMem: true, fails: n, queue: QueueStats{Waited: n}},
		"nor for pages, must not wait": {held: true, noMem: true, noWait: true, online: true, fails: n, queue: QueueStats{Callback: n}},
		"one page, then a callback":    {held: true, noMem: true, pages: 1, noWait: true, online: true, fails: n, queue: QueueStats{Callback: n - freequeue.PageCap}},
		"sheaves only":                 {online: true, pushes: n},
	} {
		t.Run(name, func(t *testing.T) {
			lent := freequeue.ReserveInUse()
			tt.cfg.RCUDelay = time.Hour
			m := openDtorCounter(t, nil, tt.cfg)
			// From slabs: where Alloc fills a sheaf, and the goroutine migrates, the barn gets an
			// empty one, which FreeRCU would use.
			ps := make([]unsafe.Pointer, n)
			same(t, "AllocBulk", m.AllocBulk(ps), nil)
			for _, p := range ps {
				paint(p, 64, 8)
			}
			var r *rcu.Reader
			if tt.online {
				r = register(t, m.Domain())
			}
			again, release := func() {}, func() {}
			if tt.noMem {
				again = noMemory(t, tt.pages)
			}
			switch {
			case tt.held:
				release = holdStacks(m.Cache, percpu.RCU)
			case tt.noMem: // keeps FreeRCU from using an empty spare as its sheaf
				release = holdStacks(m.Cache, percpu.Main)
			}
			for _, p := range ps {
				if tt.noWait {
					m.FreeRCUNoWait(p)
				} else {
					m.FreeRCU(p)
				}
			}
			release()
			if tt.online {
				m.freeQueue.StartAll()
				m.freeQueue.ReclaimReady()
				if d, s := m.Died.Load(), m.Stats(); d != 0 || s.RCUObjects != n || s.InUse != 0 {
					t.Errorf("under a reader %d destructors ran, %d wait, %d in use", d, s.RCUObjects, s.InUse)
				}
				for _, p := range ps {
					if !painted(p, 64, 8) {
						t.Fatalf("%p changed under a reader", p)
					}
				}
				_ = r.Close()
			}
			same(t, "Barrier", m.Barrier(context.Background()), nil)
			again()
			s := m.Stats()
			if d := m.Died.Load(); d != n || s.RCUObjects != 0 || s.InUse != 0 || s.Backlog.Bytes != 0 {
				t.Errorf("%d destructors of %d ran, %d objects wait, %d in use, %d bytes charged", d, n, s.RCUObjects, s.InUse, s.Backlog.Bytes)
			}
			if got := s.Events[FreeRCUSheafFail]; got != tt.fails {
				t.Errorf("%d refusals counted, want %d", got, tt.fails)
			}
			if got := s.Events[FreeRCUSheaf]; got != tt.pushes || s.Events[FreeSlowpath] != n-tt.pushes {
				t.Errorf("sheaves took %d, want %d; %d slow frees", got, tt.pushes, s.Events[FreeSlowpath])
			}
			if s.RCUQueue != tt.queue {
				t.Errorf("%+v, want %+v", s.RCUQueue, tt.queue)
			}
			m.Shrink()
			for obj := range m.slabs.InUse() {
				t.Errorf("%#x is not free", obj)
			}
			seen := map[unsafe.Pointer]bool{}
			for _, p := range take(t, m.Cache, 2*n) {
				if seen[p] {
					t.Fatalf("%p was handed out twice", p)
				}
				seen[p] = true
				defer m.Free(p)
			}
			if n := freequeue.ReserveInUse(); n != lent {
				t.Errorf("%d pages of the reserve are in use, %d before", n, lent)
			}
		})
	}
}

// A refusal counts if a sheaf was asked, or the cache has none; an object of another node asks no
// sheaf. The kernel counts the same refusals.
func TestFallbackCounts(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	topology := fakeNodes(t, 2)
	a := newArena(t, arena.Config{Topology: topology})
	for name, tt := range map[string]struct {
		flags Flags
		node  int
		fails uint64
	}{
		"local":              {0, 0, 0},
		"remote":             {0, 1, 0},
		"local, no sheaves":  {NoSheaves, 0, 1},
		"remote, no sheaves": {NoSheaves, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			d := new(rcu.Domain)
			c := open(t, a, Config{Size: 64, Flags: tt.flags, Domain: d})
			section := d.Enter() // until it ends, nothing that was queued is freed
			defer section.Exit()
			pinned(t, 0, func() {
				p, err := c.AllocNode(topology.Nodes()[tt.node])
				if err != nil {
					t.Fatal(err)
				}
				c.FreeRCU(p)
			})
			s := c.Stats()
			queued := uint64(c.freeQueue.Pending())
			if s.Events[FreeRCUSheafFail] != tt.fails || s.Events[FreeRCUSheaf]+queued != 1 {
				t.Errorf("%d refusals, want %d; %d in a sheaf, %d queued", s.Events[FreeRCUSheafFail], tt.fails, s.Events[FreeRCUSheaf], queued)
			}
			if queued > 0 && c.freeQueue.NodeEmpty(tt.node) {
				t.Error("not queued for its node")
			}
		})
	}
}

// Page runs and mappings use the same fallbacks.
func TestLargeFallbacks(t *testing.T) {
	for kind, size := range map[string]int{"run": kinds["run"], "mapping": kinds["mapping"]} {
		for way, queue := range map[string]QueueStats{"page": {}, "wait": {Waited: 3}, "callback": {Callback: 3}} {
			t.Run(kind+", "+way, func(t *testing.T) {
				died := map[unsafe.Pointer]int{}
				b := openBuckets(t, nil, BucketsConfig{Domain: new(rcu.Domain), RCUDtor: func(p unsafe.Pointer) { died[p]++ }})
				ps := []unsafe.Pointer{malloc(t, b, size), malloc(t, b, size), malloc(t, b, size)}
				again := func() {}
				if way != "page" {
					again = noMemory(t, 0)
				}
				for _, p := range ps {
					if way == "callback" {
						b.FreeRCUNoWait(p)
					} else {
						b.FreeRCU(p)
					}
				}
				same(t, "Barrier", b.Barrier(context.Background()), nil)
				again()
				if got := QueueStats(b.freeQueue.Stats()); got != queue {
					t.Errorf("%+v, want %+v", got, queue)
				}
				for _, p := range ps {
					if died[p] != 1 {
						t.Errorf("destroyed %d times", died[p])
					}
				}
				if n := b.large.inUse.Load(); n != 0 || b.backlog.Stats().Bytes != 0 {
					t.Errorf("%d in use, %d bytes charged", n, b.backlog.Stats().Bytes)
				}
			})
		}
	}
}

// Allocations reclaim a started page, a few objects at a time, as soon as its own grace period is
// over. They need no timer and no callback, and don't wait for the grace periods of other pages.
func TestPagesArePolled(t *testing.T) {
	d := new(rcu.Domain)
	c := open(t, nil, Config{Size: 64, Flags: NoSheaves, Domain: d, RCUDelay: time.Hour})
	more := take(t, c, 5)
	r := register(t, d)
	freeRCU(c, take(t, c, freequeue.PageCap)) // starts the first page
	r.Quiescent()
	freeRCU(c, more)
	var ps []unsafe.Pointer
	for want := int64(freequeue.PageCap); want > 0; want -= freequeue.MaxPoll {
		if got := c.freeQueue.Pending(); got != want+5 {
			t.Fatalf("%d objects wait, want %d", got, want+5)
		}
		if want%3 == 0 {
			ps = append(ps, take(t, c, 1)...)
			continue
		}
		bulk := make([]unsafe.Pointer, 1)
		same(t, "AllocBulk", c.AllocBulk(bulk), nil)
		ps = append(ps, bulk...)
	}
	freeAll(c, append(ps, take(t, c, 100)...))
	if got := c.freeQueue.Pending(); got != 5 {
		t.Errorf("%d objects wait, want those of the open page", got)
	}
	_ = r.Close()
}

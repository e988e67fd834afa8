package slub

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/rcu"
)

// noMemory has the kernel refuse all mappings until again is called or the test ends, and
// leaves so many blocks of the reserve.
func noMemory(t *testing.T, reserve int) (again func()) {
	t.Helper()
	restore := sys.FailNth(sys.CallReserve, 0, syscall.ENOMEM)
	var all []*block
	for b := blocks.get(); b != nil; b = blocks.get() {
		all = append(all, b)
	}
	again = func() {
		restore()
		for _, b := range all {
			blocks.put(b)
		}
		all = nil
	}
	t.Cleanup(again)
	// They come in any order, once the reserve was needed.
	images := 0
	for _, b := range all {
		if isImage(b) {
			images++
		}
	}
	if images != len(image) {
		t.Fatalf("of %d blocks without memory %d are of the reserve, which has %d", len(all), images, len(image))
	}
	for _, b := range all[len(all)-reserve:] {
		blocks.put(b)
	}
	all = all[:len(all)-reserve]
	return again
}

// register adds a reader, which holds up grace periods until it is told to report.
func register(t *testing.T, d *rcu.Domain) *rcu.Reader {
	r := d.Register("test")
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// holdStacks takes one of the stacks of each CPU.
func holdStacks(c *Cache, kind percpu.Kind) (release func()) {
	var held []*percpu.Stack
	for cpu := range percpu.NumCPU() {
		held = append(held, c.sheaves.Slots.LockCPU(cpu, kind))
	}
	return func() {
		for _, st := range held {
			st.Unlock()
		}
	}
}

// Whatever FreeRCU falls back on, every object is destroyed once, not before its readers
// are through, and is free then; refusals are counted where the kernel counts them.
func TestFallbacks(t *testing.T) {
	const n = 3 * blockCap / 2
	outside := func(unsafe.Pointer) {} // a constructor, which has the free pointer outside
	for name, tt := range map[string]struct {
		cfg    Config
		held   bool // the CPUs' stacks
		noMem  bool // for anything
		blocks int  // of the reserve that are left then
		noWait bool
		online bool // a reader, throughout
		fails  uint64
		queue  QueueStats
		pushes uint64 // objects that sheaves take
	}{
		"stack held":                    {held: true, online: true, fails: n},
		"no memory for sheaves":         {cfg: Config{SheafCapacity: 16000}, noMem: true, blocks: 2, online: true, fails: n},
		"nor for blocks, links outside": {cfg: Config{Ctor: outside}, held: true, noMem: true, online: true, fails: n, queue: QueueStats{Linked: n}},
		"one block, then links":         {cfg: Config{Ctor: outside}, held: true, noMem: true, blocks: 1, online: true, fails: n, queue: QueueStats{Linked: n - blockCap}},
		"nor for blocks, no links":      {held: true, noMem: true, fails: n, queue: QueueStats{Waited: n}},
		"nor for blocks, must not wait": {held: true, noMem: true, noWait: true, online: true, fails: n, queue: QueueStats{Callback: n}},
		"one block, then a callback":    {held: true, noMem: true, blocks: 1, noWait: true, online: true, fails: n, queue: QueueStats{Callback: n - blockCap}},
		"sheaves only":                  {online: true, pushes: n},
	} {
		t.Run(name, func(t *testing.T) {
			lent := blocks.imageOut
			tt.cfg.RCUDelay = time.Hour
			m := openMortal(t, nil, tt.cfg)
			ps := take(t, m.Cache, n)
			for _, p := range ps {
				paint(p, 64, 8)
			}
			var r *rcu.Reader
			if tt.online {
				r = register(t, m.domain)
			}
			again, release := func() {}, func() {}
			if tt.noMem {
				again = noMemory(t, tt.blocks)
			}
			switch {
			case tt.held:
				release = holdStacks(m.Cache, percpu.RCU)
			case tt.noMem: // for new sheaves; and the spares, which may be empty, are out of reach
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
				m.rcuQueue.tick()
				m.rcuQueue.tick()
				if d, s := m.died.Load(), m.Stats(); d != 0 || s.RCUObjects != n || s.InUse != 0 {
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
			if d := m.died.Load(); d != n || s.RCUObjects != 0 || s.InUse != 0 || s.Backlog.Bytes != 0 {
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
			for slab := range m.slabs.all() {
				for obj := range m.slabs.inUse(slab) {
					t.Errorf("%#x is not free", obj)
				}
			}
			seen := map[unsafe.Pointer]bool{}
			for _, p := range take(t, m.Cache, 2*n) {
				if seen[p] {
					t.Fatalf("%p was handed out twice", p)
				}
				seen[p] = true
				defer m.Free(p)
			}
			if blocks.imageOut != lent {
				t.Errorf("%d blocks of the reserve are out, %d before", blocks.imageOut, lent)
			}
		})
	}
}

// The pool keeps a few blocks, and gives back what is more.
func TestBlockPoolKeepsFew(t *testing.T) {
	p := &blockPool{stocked: true} // without the reserve, which is the other pool's
	most := keptPerCPU * percpu.NumCPU()
	var all []*block
	for range 2 * most {
		all = append(all, p.get())
	}
	for _, b := range all {
		p.put(b)
	}
	if p.kept != most {
		t.Errorf("%d blocks kept, want %d", p.kept, most)
	}
	for range most {
		_ = percpu.Unreserve(uintptr(unsafe.Pointer(p.get())), mem.PageSize)
	}
	if p.kept != 0 || p.free != nil {
		t.Errorf("%d blocks left", p.kept)
	}
}

// Objects of another node and caches without sheaves: which refusals the kernel counts.
func TestFallbackCounts(t *testing.T) {
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
			c := open(t, a, Config{Size: 64, Flags: tt.flags | NoMerge, Domain: new(rcu.Domain)})
			pinned(t, 0, func() {
				p, err := c.AllocNode(topology.Nodes()[tt.node])
				if err != nil {
					t.Fatal(err)
				}
				c.FreeRCU(p)
			})
			s := c.Stats()
			queued := uint64(c.rcuQueue.pending.Load())
			if s.Events[FreeRCUSheafFail] != tt.fails || s.Events[FreeRCUSheaf]+queued != 1 {
				t.Errorf("%d refusals, want %d; %d in a sheaf, %d queued", s.Events[FreeRCUSheafFail], tt.fails, s.Events[FreeRCUSheaf], queued)
			}
			if row := &c.rcuQueue.rows[tt.node]; queued > 0 && row.empty() {
				t.Error("not in the row of its node")
			}
		})
	}
}

// Page runs and mappings fall back the same way.
func TestLargeFallbacks(t *testing.T) {
	for kind, size := range map[string]int{"run": kinds["run"], "mapping": kinds["mapping"]} {
		for way, queue := range map[string]QueueStats{"block": {}, "wait": {Waited: 3}, "callback": {Callback: 3}} {
			t.Run(kind+", "+way, func(t *testing.T) {
				died := map[unsafe.Pointer]int{}
				b := openBuckets(t, nil, BucketsConfig{Domain: new(rcu.Domain), RCUDtor: func(p unsafe.Pointer) { died[p]++ }})
				ps := []unsafe.Pointer{malloc(t, b, size), malloc(t, b, size), malloc(t, b, size)}
				again := func() {}
				if way != "block" {
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
				q := &b.rcuQueue
				if got := (QueueStats{q.inChain.Load(), q.atOnce.Load(), q.byCallback.Load()}); got != queue {
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

// An online reader that must wait for memory doesn't wait for itself for ever.
func TestLastResortOfAReader(t *testing.T) {
	m := openMortal(t, nil, Config{})
	p := take(t, m.Cache, 1)[0]
	r := register(t, m.domain)
	again := noMemory(t, 0)
	release := holdStacks(m.Cache, percpu.RCU)
	m.FreeRCU(p)
	release()
	again()
	if s := m.Stats(); s.RCUQueue != (QueueStats{Callback: 1}) || m.died.Load() != 0 {
		t.Errorf("%+v, %d destroyed", s.RCUQueue, m.died.Load())
	}
	_ = r.Close()
	same(t, "Close", m.Close(), nil)
	if d := m.died.Load(); d != 1 {
		t.Errorf("destroyed %d times", d)
	}
}

// A sealed block is ended by allocations, little by little, as soon as its own grace period
// is over: no timer, no callback, and though others still wait.
func TestBlocksArePolled(t *testing.T) {
	d := new(rcu.Domain)
	c := open(t, nil, Config{Size: 64, Flags: NoSheaves, Domain: d, RCUDelay: time.Hour})
	more := take(t, c, 5)
	r := register(t, d)
	freeRCU(c, take(t, c, blockCap)) // seals the first block
	r.Quiescent()
	freeRCU(c, more)
	var ps []unsafe.Pointer
	for want := int64(blockCap); want > 0; want -= drainMost {
		if got := c.rcuQueue.pending.Load(); got != want+5 {
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
	if got := c.rcuQueue.pending.Load(); got != 5 {
		t.Errorf("%d objects wait, want those of the open block", got)
	}
	_ = r.Close()
}

// What no sheaf took waits no longer for its grace period to begin than what one did.
func TestRCUDelayBoundsTheQueue(t *testing.T) {
	m := openMortal(t, nil, Config{RCUDelay: 2 * time.Millisecond, Ctor: func(unsafe.Pointer) {}})
	again := noMemory(t, 1)
	release := holdStacks(m.Cache, percpu.RCU)
	ps := take(t, m.Cache, blockCap+7)
	freeRCU(m.Cache, ps[:3])
	within(t, "the end of three objects", func() bool { return m.died.Load() == 3 })
	freeRCU(m.Cache, ps[3:])
	release()
	again()
	within(t, "the end of the others, some of them linked", func() bool { return m.died.Load() == blockCap+7 })

	b := openBuckets(t, nil, BucketsConfig{Domain: new(rcu.Domain)})
	b.FreeRCU(malloc(t, b, 100_000))
	within(t, "the end of a page run", func() bool { return b.large.inUse.Load() == 0 })
}

// Objects in the open block are sealed at the second tick that sees them, and linked ones
// beside a chain that waits don't prolong its wait.
func TestTicksSeal(t *testing.T) {
	m := openMortal(t, nil, Config{RCUDelay: time.Hour, Ctor: func(unsafe.Pointer) {}})
	again := noMemory(t, 0)
	release := holdStacks(m.Cache, percpu.RCU)
	q, row := &m.rcuQueue, &m.rcuQueue.rows[0]
	ps := take(t, m.Cache, 3)
	r := register(t, m.domain)
	m.FreeRCU(ps[0])
	q.tick()
	if row.waiting.n != 0 {
		t.Error("sealed at the first tick")
	}
	q.tick()
	token := row.waiting.token
	m.FreeRCU(ps[1])
	q.tick()
	q.tick()
	if row.waiting.n != 1 || row.waiting.token != token || row.links.n != 1 {
		t.Errorf("one waits, one is linked: %+v, %+v", row.waiting, row.links)
	}
	r.Quiescent()
	q.tick()
	q.tick()
	if d := m.died.Load(); d != 1 {
		t.Errorf("%d destroyed, want the first", d)
	}
	m.FreeRCU(ps[2])
	release()
	again()
	_ = r.Close()
	same(t, "Barrier", m.Barrier(context.Background()), nil) // the one that waits, and the one that is linked
	if d := m.died.Load(); d != 3 {
		t.Errorf("%d of 3 destroyed", d)
	}
}

// A block that has taken a full one's place is as young as its first object.
func TestTicksSealNoYoungBlock(t *testing.T) {
	c := open(t, nil, Config{Size: 64, Flags: NoSheaves, Domain: new(rcu.Domain), RCUDelay: time.Hour})
	q, row := &c.rcuQueue, &c.rcuQueue.rows[0]
	ps := take(t, c, blockCap+1)
	freeRCU(c, ps[:1])
	q.tick()
	freeRCU(c, ps[1:])
	q.tick()
	if row.open == nil || row.open.n != 1 {
		t.Error("the second block is sealed at the first tick that sees it")
	}
	q.tick()
	if row.open != nil {
		t.Error("the second block is not sealed at the second tick")
	}
}

// A block that turns out not to be needed goes back.
func TestRowKeepsOneBlock(t *testing.T) {
	d := new(rcu.Domain)
	var r row
	p := unsafe.Pointer(new(uint64))
	if result, left := r.push(d, p, 8, nil); result != noBlock || left != nil {
		t.Errorf("without a block: %d, %p", result, left)
	}
	one, other := new(block), new(block)
	if result, left := r.push(d, p, 8, one); result != taken || left != nil || r.open != one {
		t.Errorf("with one: %d, %p", result, left)
	}
	if result, left := r.push(d, p, 8, other); result != taken || left != other || one.n != 2 {
		t.Errorf("with another: %d, %p, %d objects in the first", result, left, one.n)
	}
}

// Who waits at the hard limit is helped although no timer runs: the queue is a member of
// the backlog, until it is closed.
func TestQueueIsHurried(t *testing.T) {
	c := open(t, nil, Config{Size: 64, Flags: NoSheaves, Domain: new(rcu.Domain), RCUDelay: time.Hour, RCUHardLimit: 640, RCUMaxWait: -1})
	ps := take(t, c, 100)
	freeRCU(c, ps) // hangs if nobody makes room
	if s := c.Stats().Backlog; s.Waits == 0 || s.Overruns != 0 || s.Peak != 640 {
		t.Errorf("%+v", s)
	}
}

// The fallback allocates no Go memory, blocks and their turnover included.
func TestFallbackAllocatesNothing(t *testing.T) {
	if sanitized || invariants.Enabled {
		t.Skip("sanitizers and checks allocate")
	}
	c := open(t, nil, Config{Size: 64, Flags: NoSheaves, Domain: new(rcu.Domain), RCUDelay: time.Hour, MinPartial: 100})
	ps := make([]unsafe.Pointer, 3*blockCap)
	if n := testing.AllocsPerRun(20, func() {
		for i := range ps {
			ps[i], _ = c.Alloc()
		}
		for _, p := range ps {
			c.FreeRCU(p)
		}
	}); n != 0 {
		t.Errorf("%v Go allocations for %d objects", n, len(ps))
	}
}

// A destructor may give more, to FreeRCUNoWait, until the cache is closed.
func TestFreeRCUNoWaitInDestructor(t *testing.T) {
	for _, limit := range []int64{0, 1} {
		t.Run(fmt.Sprint("limit ", limit), func(t *testing.T) {
			var c *Cache
			var next []unsafe.Pointer
			died := 0
			c = open(t, nil, Config{Size: 64, Domain: new(rcu.Domain), RCUHardLimit: limit, RCUMaxWait: -1, RCUDelay: time.Hour,
				RCUDtor: func(unsafe.Pointer) {
					if died++; len(next) > 0 {
						p := next[0]
						next = next[1:]
						c.FreeRCUNoWait(p)
					}
				}})
			next = take(t, c, 300)
			p := next[0]
			next = next[1:]
			c.FreeRCU(p)
			for range 300 {
				same(t, "Barrier", c.Barrier(context.Background()), nil)
			}
			if same(t, "Close", c.Close(), nil); died != 300 {
				t.Errorf("%d of 300 destroyed", died)
			}
		})
	}
}

// link gives an object to FreeRCU that finds neither a sheaf nor a block for it.
func (m *mortal) link(t *testing.T, p unsafe.Pointer) {
	t.Helper()
	again := noMemory(t, 0)
	release := holdStacks(m.Cache, percpu.RCU)
	m.FreeRCU(p)
	release()
	again()
}

// Barrier returns nil only when what was given before it is ended, also where another one
// comes in between and gives the chain a later grace period.
func TestBarriersInARow(t *testing.T) {
	m := openMortal(t, nil, Config{Ctor: func(unsafe.Pointer) {}, RCUDelay: time.Hour})
	ps := take(t, m.Cache, 2)
	barrier := func() <-chan error {
		done := make(chan error, 1)
		go func() { done <- m.rcuQueue.Barrier(context.Background()) }()
		time.Sleep(20 * time.Millisecond) // until it waits for a reader, or for the other one
		return done
	}
	r1 := register(t, m.domain)
	m.link(t, ps[0])
	first := barrier()
	r2 := register(t, m.domain)
	m.link(t, ps[1])
	second := barrier()
	same(t, "Close", r1.Close(), nil)
	same(t, "first Barrier", <-first, nil)
	if n := m.died.Load(); n < 1 {
		t.Error("the first Barrier returned before what was given to it had ended")
	}
	same(t, "Close", r2.Close(), nil)
	same(t, "second Barrier", <-second, nil)
	if n := m.died.Load(); n != 2 {
		t.Errorf("%d of 2 objects ended", n)
	}
}

// Close waits for who has taken the chain off and is ending it.
func TestQueueCloseWaitsForTheTimer(t *testing.T) {
	in, out := make(chan bool, 1), make(chan bool)
	var once sync.Once
	c, err := New(newArena(t, arena.Config{}), Config{Size: 64, RCUDelay: time.Hour, Domain: new(rcu.Domain),
		Ctor: func(unsafe.Pointer) {}, RCUDtor: func(unsafe.Pointer) { once.Do(func() { in <- true; <-out }) }})
	if err != nil {
		t.Fatal(err)
	}
	ps := take(t, c, 3)
	again := noMemory(t, 0)
	release := holdStacks(c, percpu.RCU)
	for _, p := range ps {
		c.FreeRCU(p)
	}
	release()
	again()
	c.rcuQueue.Submit()
	go c.rcuQueue.tick()
	<-in
	closed := make(chan error, 1)
	go func() { closed <- c.rcuQueue.Close(context.Background()) }()
	select {
	case err := <-closed:
		t.Errorf("Close returned %v with %d objects pending", err, c.rcuQueue.pending.Load())
	case <-time.After(20 * time.Millisecond):
	}
	close(out)
	within(t, "all are ended", func() bool { return c.rcuQueue.pending.Load() == 0 })
	same(t, "Close", c.Close(), nil)
}

// A chain that is sealed once more waits for the grace period of what came last: readers
// since the first seal may hold that.
func TestMergedChainWaitsForItsYoungest(t *testing.T) {
	m := openMortal(t, nil, Config{Ctor: func(unsafe.Pointer) {}, RCUDelay: time.Hour})
	ps := take(t, m.Cache, 2)
	first := register(t, m.domain)
	for i, p := range ps {
		again := noMemory(t, 0)
		release := holdStacks(m.Cache, percpu.RCU)
		m.FreeRCU(p)
		again()
		release()
		m.rcuQueue.seal(true)
		if i == 0 {
			defer register(t, m.domain).Close() // may hold the second
		}
	}
	same(t, "Close", first.Close(), nil)
	m.rcuQueue.Reap()
	if n := m.died.Load(); n > 1 {
		t.Error("the second object ended under a reader")
	}
}

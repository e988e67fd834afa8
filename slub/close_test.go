package slub

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/rcu"
)

// Close says how many objects are out and where; they may be freed on any way after
// that, and then it succeeds.
func TestCloseReportsWhatIsOut(t *testing.T) {
	for name, back := range backs {
		t.Run(name, func(t *testing.T) {
			c, err := New(newArena(t, smallArena), Config{Name: "leaky", Size: 64})
			if err != nil {
				t.Fatal(err)
			}
			ps := take(t, c, 200)
			freeAll(c, ps[3:])
			for range 2 {
				err = c.Close()
				same(t, "Close", err, ErrBusy)
				for _, want := range []string{`"leaky"`, "3 objects", fmt.Sprintf("%p", ps[0]), fmt.Sprintf("%p", ps[2])} {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("no word of %s in %v", want, err)
					}
				}
			}
			if !slices.Contains(slices.Collect(Caches()), c) {
				t.Error("a cache with objects out has left the list")
			}
			back(c, ps[:3])
			for range 2 {
				same(t, "Close", c.Close(), nil)
			}
			if slices.Contains(slices.Collect(Caches()), c) {
				t.Error("a closed cache is still listed")
			}
		})
	}
}

func TestCloseListsAFew(t *testing.T) {
	c, err := New(newArena(t, smallArena), Config{Size: 64})
	if err != nil {
		t.Fatal(err)
	}
	ps := take(t, c, 100)
	err = c.Close()
	if n := strings.Count(err.Error(), "0x"); n != maxListed || !strings.Contains(err.Error(), "100 objects") {
		t.Errorf("%d addresses in %v", n, err)
	}
	freeAll(c, ps)
	same(t, "Close", c.Close(), nil)
}

// Close waits for a free that gives back the last slab on another goroutine, and after a
// second says that it is not back.
func TestCloseWaitsForSlab(t *testing.T) {
	for name, comes := range map[string]bool{"comes": true, "doesn't come": false} {
		t.Run(name, func(t *testing.T) {
			c := open(t, nil, Config{Size: 64, Flags: NoSheaves | TypesafeByRCU, MinPartial: 1})
			inside, leave := make(chan bool), make(chan bool)
			c.slabs.deferPages = func(f func()) {
				close(inside)
				<-leave
				f()
			}
			p := take(t, c, 1)[0]
			c.slabs.keep.Store(0)
			freed := make(chan bool)
			go func() { defer close(freed); c.Free(p) }()
			<-inside
			err := c.CloseContext(canceled(t))
			same(t, "CloseContext", err, context.Canceled)
			if !strings.Contains(err.Error(), "slabs are not back") {
				t.Error(err)
			}
			if !comes {
				err := c.Close()
				same(t, "Close", err, ErrBusy)
				if !strings.Contains(err.Error(), "not back") {
					t.Error(err)
				}
				close(leave)
				<-freed
				return
			}
			closed := make(chan error)
			go func() { closed <- c.Close() }()
			within(t, "Close begins", c.closed.Load)
			time.Sleep(5 * time.Millisecond)
			close(leave)
			same(t, "Close", <-closed, nil)
			<-freed
		})
	}
}

// What FreeRCU is given while Close is under way, and finds no sheaf for, is waited for
// as well: there are two barriers, one before the cache is closed and one after.
func TestCloseWaitsForLateFreeRCU(t *testing.T) {
	var died atomic.Int64
	goOn := make(chan bool)
	domain := new(rcu.Domain)
	c := open(t, nil, Config{Size: 64, Domain: domain, RCUDtor: func(unsafe.Pointer) {
		if died.Add(1) > 1 {
			<-goOn
		}
	}})
	ps := take(t, c, 2)
	c.FreeRCU(ps[0])
	caches.mu.Lock() // which Close needs after its first barrier
	closed := make(chan error, 1)
	go func() { closed <- c.Close() }()
	within(t, "Close waits for the first object", func() bool { return died.Load() == 1 })
	c.rcuQueue.add(ps[1], 0, c.layout.slot, true)
	within(t, "the destruction of the second begins", func() bool { return died.Load() == 2 })
	caches.mu.Unlock()
	select {
	case err := <-closed:
		t.Errorf("Close did not wait: %v", err)
		close(goOn)
	case <-time.After(20 * time.Millisecond):
		close(goOn)
		same(t, "Close", <-closed, nil)
	}
}

func TestClosedCache(t *testing.T) {
	c := open(t, nil, Config{Size: 64})
	freeAll(c, take(t, c, 100))
	same(t, "Close", c.Close(), nil)
	_, err := c.Alloc()
	same(t, "Alloc", err, ErrClosed)
	_, err = c.AllocZero()
	same(t, "AllocZero", err, ErrClosed)
	_, err = c.AllocNode(c.nodeAt(0))
	same(t, "AllocNode", err, ErrClosed)
	_, err = c.Prefill(1)
	same(t, "Prefill", err, ErrClosed)
	same(t, "AllocBulk", c.AllocBulk(make([]unsafe.Pointer, 3)), ErrClosed)
	if n := c.Shrink(); n != 0 {
		t.Errorf("%d slabs left", n)
	}
	same(t, "Close of nil", (*Cache)(nil).Close(), nil)
	same(t, "Close of no Typed", (*Typed[int])(nil).Close(), nil)
}

// A prefilled sheaf outlives Close: its objects are out until it is returned.
func TestCloseWithAPrefilledSheaf(t *testing.T) {
	c := open(t, nil, Config{Size: 64})
	pre, err := c.Prefill(10)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "Close", c.Close(), ErrBusy)
	p := pre.Alloc()
	same(t, "Refill", pre.Refill(100), ErrClosed)
	c.Free(p)
	pre.Return()
	same(t, "Close", c.Close(), nil)
}

// Names are unique among the open caches, whichever of them are closed, and how often.
func TestNamesAreUnique(t *testing.T) {
	a := newArena(t, smallArena)
	first := open(t, a, Config{Name: "twin", Size: 64})
	second := open(t, a, Config{Name: "twin", Size: 64})
	if first.Name() != "twin" || !strings.HasPrefix(second.Name(), "twin#") {
		t.Errorf("named %q and %q", first.Name(), second.Name())
	}
	same(t, "Close", first.Close(), nil)
	third := open(t, a, Config{Name: "twin", Size: 64})
	same(t, "second Close of the first", first.Close(), nil)
	fourth := open(t, a, Config{Name: "twin", Size: 64})
	if third.Name() != "twin" || fourth.Name() == "twin" {
		t.Errorf("named %q and %q", third.Name(), fourth.Name())
	}
	if c := open(t, a, Config{Size: 48}); !strings.HasPrefix(c.Name(), "size-48") {
		t.Errorf("a cache without a name is %q", c.Name())
	}
}

// Caches come and go beside each other, in one arena, while somebody lists them.
func TestCachesComeAndGo(t *testing.T) {
	a := newArena(t, smallArena)
	var working sync.WaitGroup
	for i := range 4 {
		working.Go(func() {
			for range 20 {
				c, err := New(a, Config{Name: "passing", Size: uintptr(40 + 100*i)})
				if err != nil {
					t.Error(err)
					return
				}
				var ps []unsafe.Pointer
				for range 50 {
					p, err := c.Alloc()
					if err != nil {
						t.Error(err)
						return
					}
					ps = append(ps, p)
				}
				for k, p := range ps {
					if k%2 == 0 {
						c.Free(p)
					} else {
						c.FreeRCU(p)
					}
				}
				for other := range Caches() {
					_ = other.Stats()
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	working.Wait()
}

// Where Close may not wait it closes nothing by halves.
func TestCloseInCallback(t *testing.T) {
	var died int
	d := new(rcu.Domain)
	c := open(t, nil, Config{Size: 64, Domain: d, RCUDtor: func(unsafe.Pointer) { died++ }})
	for _, p := range take(t, c, 5) {
		c.FreeRCU(p)
	}
	got := make(chan error)
	d.Defer(func() { got <- c.Close() })
	same(t, "Close in a callback", <-got, rcu.ErrInCallback)
	if err := c.Close(); err != nil || died != 5 {
		t.Errorf("Close after that: %v, with %d of 5 destructors run", err, died)
	}
}

// A daemon that makes and closes caches all day doesn't grow.
func TestClosedCachesCostNothing(t *testing.T) {
	a := newArena(t, arena.Config{})
	cycle := func() {
		c, err := New(a, Config{Size: 64})
		if err != nil {
			t.Fatal(err)
		}
		objs := make([]unsafe.Pointer, 100)
		if err := c.AllocBulk(objs); err != nil {
			t.Fatal(err)
		}
		c.FreeBulk(objs)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		cycle()
	}
	debug.FreeOSMemory()
	before, err := sys.ReadRSS()
	if err != nil {
		t.Fatal(err)
	}
	const cycles = 1000
	for range cycles {
		cycle()
	}
	debug.FreeOSMemory()
	// The Go heap may have grown by an arena of its own.
	if after, _ := sys.ReadRSS(); after > before+cycles*mem.PageSize+8*mib {
		t.Errorf("%d caches made and closed: resident %d KiB, then %d", cycles, before>>10, after>>10)
	}
}

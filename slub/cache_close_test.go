package slub_test

import (
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// Close reports the number and addresses of the objects in use. They may be freed in any way
// after that, and then Close succeeds.
func TestCloseReportsWhatIsOut(t *testing.T) {
	for name, back := range backs {
		t.Run(name, func(t *testing.T) {
			c, err := slub.New(newArena(t, smallArena), slub.Config{Name: "leaky", Size: 64})
			if err != nil {
				t.Fatal(err)
			}
			ps := take(t, c, 200)
			freeAll(c, ps[3:])
			for range 2 {
				err = c.Close()
				same(t, "Close", err, slub.ErrBusy)
				for _, want := range []string{`"leaky"`, "3 objects", fmt.Sprintf("%p", ps[0]), fmt.Sprintf("%p", ps[2])} {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("no word of %s in %v", want, err)
					}
				}
			}
			if !slices.Contains(slices.Collect(slub.Caches()), c) {
				t.Error("a cache with objects out has left the list")
			}
			back(c, ps[:3])
			for range 2 {
				same(t, "Close", c.Close(), nil)
			}
			if slices.Contains(slices.Collect(slub.Caches()), c) {
				t.Error("a closed cache is still listed")
			}
		})
	}
}

func TestCloseListsAFew(t *testing.T) {
	c, err := slub.New(newArena(t, smallArena), slub.Config{Size: 64})
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

func TestClosedCache(t *testing.T) {
	c := open(t, nil, slub.Config{Size: 64})
	freeAll(c, take(t, c, 100))
	same(t, "Close", c.Close(), nil)
	_, err := c.Alloc()
	same(t, "Alloc", err, slub.ErrClosed)
	_, err = c.AllocZero()
	same(t, "AllocZero", err, slub.ErrClosed)
	_, err = c.AllocNode(c.Arena().Topology().Nodes()[0])
	same(t, "AllocNode", err, slub.ErrClosed)
	_, err = c.Prefill(1)
	same(t, "Prefill", err, slub.ErrClosed)
	same(t, "AllocBulk", c.AllocBulk(make([]unsafe.Pointer, 3)), slub.ErrClosed)
	if n := c.Shrink(); n != 0 {
		t.Errorf("%d slabs left", n)
	}
	same(t, "Close of nil", (*slub.Cache)(nil).Close(), nil)
	same(t, "Close of no Typed", (*slub.Typed[int])(nil).Close(), nil)
}

// A prefilled sheaf stays valid after Close: its objects are in use until it is returned.
func TestCloseWithAPrefilledSheaf(t *testing.T) {
	c := open(t, nil, slub.Config{Size: 64})
	pre, err := c.Prefill(10)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "Close", c.Close(), slub.ErrBusy)
	p := pre.Alloc()
	same(t, "Refill", pre.Refill(100), slub.ErrClosed)
	c.Free(p)
	pre.Return()
	same(t, "Close", c.Close(), nil)
}

// Names are unique among the open caches, whichever caches are closed, and however often.
func TestNamesAreUnique(t *testing.T) {
	a := newArena(t, smallArena)
	first := open(t, a, slub.Config{Name: "twin", Size: 64})
	second := open(t, a, slub.Config{Name: "twin", Size: 64})
	if first.Name() != "twin" || !strings.HasPrefix(second.Name(), "twin#") {
		t.Errorf("named %q and %q", first.Name(), second.Name())
	}
	same(t, "Close", first.Close(), nil)
	third := open(t, a, slub.Config{Name: "twin", Size: 64})
	same(t, "second Close of the first", first.Close(), nil)
	fourth := open(t, a, slub.Config{Name: "twin", Size: 64})
	if third.Name() != "twin" || fourth.Name() == "twin" {
		t.Errorf("named %q and %q", third.Name(), fourth.Name())
	}
	if c := open(t, a, slub.Config{Size: 48}); !strings.HasPrefix(c.Name(), "size-48") {
		t.Errorf("a cache without a name is %q", c.Name())
	}
}

// Goroutines make and close caches in one arena, and list them meanwhile.
func TestCachesComeAndGo(t *testing.T) {
	a := newArena(t, smallArena)
	var working sync.WaitGroup
	for i := range 4 {
		working.Go(func() {
			for range 20 {
				c, err := slub.New(a, slub.Config{Name: "passing", Size: int64(40 + 100*i)})
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
				for other := range slub.Caches() {
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

// Where Close must not wait it fails and leaves the cache as it was.
func TestCloseInCallback(t *testing.T) {
	var died int
	d := new(rcu.Domain)
	c := open(t, nil, slub.Config{Size: 64, Domain: d, RCUDtor: func(unsafe.Pointer) { died++ }})
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

// The memory of a process that makes and closes caches does not grow.
func TestClosedCachesCostNothing(t *testing.T) {
	a := newArena(t, arena.Config{})
	cycle := func() {
		c, err := slub.New(a, slub.Config{Size: 64})
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
	cycles := 1000
	if testing.Short() || sanitized {
		cycles = 300
	}
	for range cycles { // as many as are measured: the Go heap has reached its size
		cycle()
	}
	debug.FreeOSMemory()
	before, err := sys.ReadRSS()
	if err != nil {
		t.Fatal(err)
	}
	for range cycles {
		cycle()
	}
	debug.FreeOSMemory()
	// The Go heap may have grown by an arena of its own.
	if after, _ := sys.ReadRSS(); after > before+uint64(cycles)*mem.PageSize+8*mib {
		t.Errorf("%d caches made and closed: resident %d KiB, then %d", cycles, before>>10, after>>10)
	}
}

package slub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/rcu"
)

// What aliases have left behind is not laid at the door of the last one only; those that
// never shared anything are no suspects, and the list has an end.
func TestLeakNamesAliases(t *testing.T) {
	needMerging(t)
	a := newArena(t, smallArena)
	first, last := open(t, a, Config{Name: "first", Size: 64}), open(t, a, Config{Name: "last", Size: 64})
	apart := open(t, a, Config{Name: "apart", Size: 64, Flags: NoMerge})
	p := take(t, first, 1)[0]
	for i := range 2 * maxListed {
		same(t, "Close", open(t, a, Config{Name: fmt.Sprintf("short-%d", i%9), Size: 64}).Close(), nil)
	}
	same(t, "Close of the first", first.Close(), nil)
	same(t, "Close of one apart", apart.Close(), nil)
	err := last.Close()
	same(t, "Close of the last", err, ErrBusy)
	want := fmt.Sprintf(`slub: objects are still in use: cache "last": 1 object of 64 bytes: %p; some may be of "short-0", "short-1", "short-2", `+
		`"short-3", "short-4", "short-5", "short-6", "first", closed already, with which it shared slabs (NoMerge keeps caches apart)`, p)
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	last.Free(p)
	same(t, "Close of the last", last.Close(), nil)
}

// Prefilled sheaves that nobody returned are told apart from objects.
func TestLeakOfPrefilled(t *testing.T) {
	c := open(t, nil, Config{Name: "lender", Size: 64, Flags: NoMerge, SheafCapacity: 60})
	ps := take(t, c, 3)
	var lent []*Prefilled
	total := 0
	for _, n := range []int{1, 100} { // the second is oversize
		pre, err := c.Prefill(n)
		if err != nil {
			t.Fatal(err)
		}
		lent = append(lent, pre)
		total += pre.Len()
	}
	says := func(want string) {
		t.Helper()
		if n := c.Stats().Prefilled; n != uint64(len(lent)) {
			t.Errorf("%d sheaves count as lent, want %d", n, len(lent))
		}
		err := c.Close()
		same(t, "Close", err, ErrBusy)
		_, lending, _ := strings.Cut(err.Error(), ";")
		if lending != want {
			t.Errorf("no %q in %v", want, err)
		}
	}
	says(fmt.Sprintf(" of these Prefill has lent %d, in 2 sheaves that were not returned", total))
	total -= lent[1].Len()
	lent[1].Return()
	lent = lent[:1]
	says(fmt.Sprintf(" of these Prefill has lent %d, in 1 sheaf that was not returned", total))
	lent[0].Return()
	lent = nil
	says("")
	freeAll(c, ps)
	same(t, "Close", c.Close(), nil)
}

// elsewhere calls CloseContext on another goroutine, not on the one that a checked build
// takes for the reader.
func elsewhere(ctx context.Context, close func(context.Context) error) error {
	got := make(chan error)
	go func() { got <- close(ctx) }()
	return <-got
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// CloseContext gives up behind a reader before anything is closed.
func TestCloseContext(t *testing.T) {
	d := new(rcu.Domain)
	c := open(t, nil, Config{Name: "held", Size: 64, Domain: d})
	ps := take(t, c, 20)
	reader := d.Register("holder")
	freeRCU(c, ps[:10])
	err := elsewhere(canceled(t), c.CloseContext)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), `slub: cache "held": rcu: reader "holder"`) {
		t.Errorf("behind a reader: %v", err)
	}
	freeAll(c, take(t, c, 100)) // as if nothing had been
	reader.Offline()
	same(t, "CloseContext with objects in use", c.CloseContext(t.Context()), ErrBusy)
	freeAll(c, ps[10:])
	same(t, "CloseContext that needs no waiting", c.CloseContext(canceled(t)), nil)
	same(t, "CloseContext once more", c.CloseContext(canceled(t)), nil)
	same(t, "CloseContext of nil", (*Cache)(nil).CloseContext(canceled(t)), nil)
}

// In the middle, wherever it waits for a reader that came after its first barrier, it
// gives up as well, and goes on when it is called again.
func TestCloseContextInTheMiddle(t *testing.T) {
	for name, at := range map[string]struct {
		flags Flags
		late  func(*Cache, unsafe.Pointer)
	}{
		"sheaves": {0, (*Cache).Free},
		"queue":   {NoSheaves, func(c *Cache, p unsafe.Pointer) { c.rcuQueue.add(p, 0, c.layout.slot, true) }},
		"slabs":   {NoSheaves | TypesafeByRCU, (*Cache).Free},
	} {
		t.Run(name, func(t *testing.T) {
			d := new(rcu.Domain)
			var died atomic.Int64
			c := open(t, nil, Config{Size: 64, Domain: d, Flags: at.flags, Hooks: hooks.Hooks{
				Free: func(hooks.Object) bool { died.Add(1); return false }}})
			ps := take(t, c, 2)
			reader := d.Register("holder")
			defer reader.Close()
			reader.Offline()
			c.FreeRCU(ps[0])
			ctx, giveUp := context.WithCancel(t.Context())
			defer giveUp()
			caches.mu.Lock() // which CloseContext needs after its first barrier
			closed := make(chan error)
			go func() { closed <- c.CloseContext(ctx) }()
			within(t, "the first barrier ends", func() bool { return died.Load() == 1 })
			reader.Online()
			at.late(c, ps[1])
			caches.mu.Unlock()
			within(t, "it is closed to allocations", c.closed.Load)
			err := elsewhere(canceled(t), c.CloseContext)
			if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "another Close is under way") {
				t.Errorf("during another: %v", err)
			}
			giveUp()
			if err := <-closed; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "rcu: ") {
				t.Errorf("in the middle: %v", err)
			}
			_, err = c.Alloc()
			same(t, "Alloc", err, ErrClosed)
			if c.gone {
				t.Error("it counts as closed")
			}
			reader.Offline()
			same(t, "CloseContext", c.CloseContext(t.Context()), nil)
		})
	}
}

// So do Buckets, whose large objects have a queue of their own.
func TestBucketsCloseContext(t *testing.T) {
	d := new(rcu.Domain)
	b := openBuckets(t, nil, BucketsConfig{Domain: d})
	reader := d.Register("holder")
	for _, n := range []int{100, 100_000} {
		p, err := b.Malloc(n)
		if err != nil {
			t.Fatal(err)
		}
		b.FreeRCU(p)
	}
	if err := elsewhere(canceled(t), b.CloseContext); !errors.Is(err, context.Canceled) {
		t.Errorf("behind a reader: %v", err)
	}
	p, err := b.Malloc(100)
	same(t, "Malloc", err, nil)
	b.Free(p)
	reader.Offline()
	same(t, "CloseContext", b.CloseContext(t.Context()), nil)
	same(t, "CloseContext of nil", (*Buckets)(nil).CloseContext(canceled(t)), nil)
}

package slub

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
)

// The cases of the kernel's slub_kunit, by its names, written from a description of what each does.
// An error is a report, or a repair: the kernel counts the lines that begin with BUG and with FIX.
// They are run on debug caches whatever the environment says.

// kunit is a cache whose errors are counted.
type kunit struct {
	*Cache
	errors atomic.Int64
}

func newKunit(t *testing.T, cfg Config) *kunit {
	if hidesBytes {
		t.Skip("Z and P do nothing with the address sanitizer, as the kernel's cases are skipped with KASAN")
	}
	withoutSamples(t) // Validate does not look at sampled objects
	k := new(kunit)
	cfg.Hooks.Report = k.count
	k.Cache = open(t, nil, cfg)
	return k
}

func (k *kunit) count(r *hooks.Report) {
	if k.errors.Add(1); r.Repaired {
		k.errors.Add(1)
	}
}

// validate looks at the cache's objects, and checks how many errors there are.
func (k *kunit) validate(t *testing.T, want int64) {
	t.Helper()
	k.errors.Store(0)
	err := k.Validate()
	if got := k.errors.Load(); got != want || (err == nil) != (want == 0) {
		t.Errorf("%d errors, want %d: %v", got, want, err)
	}
}

func TestKunitClobberZone(t *testing.T) {
	k := newKunit(t, Config{Size: 64, Debug: "Z"})
	p := take(t, k.Cache, 1)[0]
	*at(p, 64) = 0x12
	k.validate(t, 2)
	k.Free(p)
}

// The kernel's slab has all objects in its list from the beginning. Here two must have been freed,
// so that the link that is overwritten is followed by an object. The first look cuts the chain and
// corrects the count; when the link is what it was, the second one counts again.
func TestKunitNextPointer(t *testing.T) {
	k := newKunit(t, Config{Size: 64, Debug: "P"})
	ps := take(t, k.Cache, 3)
	freeAll(k.Cache, ps[:2])
	link := at(ps[1], int(k.layout.fp)+4)
	was := *link
	*link ^= 0x12
	k.validate(t, 3)
	k.slabs.SetNext(uintptr(ps[1]), uintptr(ps[0]))
	if *link != was {
		t.Fatal("the link is not what it was")
	}
	k.validate(t, 2)
	k.validate(t, 0)
	k.Free(ps[2])
	counted(t, k.Cache, "at the end")
}

func TestKunitFirstWord(t *testing.T) {
	k := newKunit(t, Config{Size: 64, Debug: "P"})
	p := take(t, k.Cache, 1)[0]
	k.Free(p)
	*at(p, 0) = 0x78
	k.validate(t, 2)
}

func TestKunitClobber50thByte(t *testing.T) {
	k := newKunit(t, Config{Size: 64, Debug: "P"})
	p := take(t, k.Cache, 1)[0]
	k.Free(p)
	*at(p, 50) = 0x9a
	k.validate(t, 2)
}

func TestKunitClobberRedzoneFree(t *testing.T) {
	k := newKunit(t, Config{Size: 64, Debug: "Z"})
	p := take(t, k.Cache, 1)[0]
	k.Free(p)
	*at(p, 64) = 0xab
	k.validate(t, 2)
}

// newKunitBuckets makes debug Buckets.
func newKunitBuckets(t *testing.T) (b *Buckets, k *kunit) {
	if hidesBytes {
		t.Skip("Z does nothing with the address sanitizer")
	}
	withoutSamples(t) // as in newKunit
	k = new(kunit)
	b, err := NewBuckets(newArena(t, arena.Config{}), BucketsConfig{Debug: "UZ", Hooks: hooks.Hooks{Report: k.count}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { same(t, "Close", b.Close(), nil) })
	return b, k
}

// malloc returns n bytes of the Buckets, and makes the class the one that is validated.
func (k *kunit) malloc(t *testing.T, b *Buckets, n int) unsafe.Pointer {
	t.Helper()
	p, err := b.Malloc(n)
	if err != nil {
		t.Fatal(err)
	}
	k.Cache = b.cacheOf(p)
	return p
}

// The kernel's class for 18 bytes is 32; here there is one of 24.
func TestKunitKmallocRedzoneAccess(t *testing.T) {
	b, k := newKunitBuckets(t)
	p := k.malloc(t, b, 18)
	*at(p, 18) = 0xab
	*at(p, 19) = 0xab
	k.validate(t, 2)
	k.validate(t, 0)
	b.Free(p)
}

func TestKunitKfreeRCU(t *testing.T) {
	k := newKunit(t, Config{Size: 64, Debug: "FZPU"})
	k.FreeRCU(take(t, k.Cache, 1)[0])
	same(t, "Close", k.Close(), nil)
	if n := k.errors.Load(); n != 0 {
		t.Errorf("%d errors", n)
	}
}

// The kernel sleeps up to 255 ms before it destroys the cache on a work queue. Here other
// goroutines close it, after a number of yields that is random.
func TestKunitKfreeRCUWorkqueueDestroy(t *testing.T) {
	for range 10 {
		k := newKunit(t, Config{Size: 64, Debug: "FZPU"})
		k.FreeRCU(take(t, k.Cache, 1)[0])
		var closing sync.WaitGroup
		delay := time.Duration(rand.IntN(8)) * time.Millisecond
		closing.Go(func() {
			time.Sleep(delay)
			same(t, "Close", k.CloseContext(context.Background()), nil)
		})
		closing.Wait()
		if n := k.errors.Load(); n != 0 {
			t.Errorf("%d errors", n)
		}
	}
}

// The kernel reports the object, and that the cache can't be destroyed. Here both are one error.
func TestKunitLeakDestroy(t *testing.T) {
	k := newKunit(t, Config{Size: 64, Debug: "FZPU"})
	p := take(t, k.Cache, 1)[0]
	err := k.Close()
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "1 object of 64 bytes") || !strings.Contains(err.Error(), "1 allocated by ") {
		t.Errorf("%v", err)
	}
	k.Free(p)
}

func TestKunitKreallocRedzoneZeroing(t *testing.T) {
	b, k := newKunitBuckets(t)
	check := func(what string, p unsafe.Pointer, from, to int, want byte) {
		t.Helper()
		for off := from; off < to; off++ {
			if got := *at(p, off); got != want {
				t.Fatalf("%s: byte %d is %#x, want %#x", what, off, got, want)
			}
		}
	}
	realloc := func(p unsafe.Pointer, old, n int) unsafe.Pointer {
		t.Helper()
		q, err := b.ReallocZero(p, old, n)
		same(t, "ReallocZero", err, nil)
		return q
	}
	const redInUse = 0xcc
	p := k.malloc(t, b, 57) // of the class of 64
	p = realloc(p, 57, 48)
	for off := range 48 {
		*at(p, off) = 0xff
	}
	p = realloc(p, 48, 40)
	check("40 of 64", p, 40, 64, redInUse)
	p = realloc(p, 40, 56)
	check("56 of 64", p, 0, 40, 0xff)
	check("56 of 64", p, 40, 56, 0)
	check("56 of 64", p, 56, 64, redInUse)
	k.validate(t, 0)
	q := realloc(p, 56, 112)
	if q == p {
		t.Fatal("112 bytes lie in the class of 64")
	}
	check("112", q, 0, 40, 0xff)
	check("112", q, 40, 112, 0)
	k.validate(t, 0)
	b.Free(q)
}

// The kernel has an interrupt allocate and free while locks of the allocator are held: by a probe
// at such points. Go runs no code in a signal handler. What runs in the middle of an operation are
// hooks, which may call what never waits.
func TestKunitNolockInHooks(t *testing.T) {
	var k *kunit
	var busy atomic.Bool // set in a hook, and at the end
	calls, served := 0, 0
	work := func() {
		if !busy.CompareAndSwap(false, true) {
			return
		}
		defer busy.Store(false)
		calls++
		p, err := k.AllocNoWait()
		switch {
		case errors.Is(err, ErrWouldBlock):
			return
		case err != nil:
			t.Error(err)
			return
		}
		if served++; served%2 == 0 {
			k.FreeRCUNoWait(p)
		} else {
			k.FreeDeferred(p)
		}
	}
	k = newKunit(t, Config{Size: 64, Debug: "FZPU", Flags: NoSheaves, Hooks: hooks.Hooks{
		Alloc: func(hooks.Object) { work() }, Free: func(hooks.Object) bool { work(); return false }}})
	ps := make([]unsafe.Pointer, 100)
	for round := range 10 {
		copy(ps, take(t, k.Cache, len(ps)))
		for i, p := range ps {
			if (i+round)%2 == 0 {
				k.FreeRCU(p)
			} else {
				k.Free(p)
			}
		}
	}
	for !busy.CompareAndSwap(false, true) {
		runtime.Gosched()
	}
	same(t, "Barrier", k.Barrier(t.Context()), nil)
	k.validate(t, 0)
	if calls == 0 || served == 0 {
		t.Errorf("%d calls in hooks, %d objects", calls, served)
	}
}

// The kernel has a counter's overflow interrupt do the same, 100,000 times a second, at any
// instruction. Go stops a goroutine at nearly any instruction, and runs another one on its CPU.
func TestKunitNolockAtAnyInstruction(t *testing.T) {
	k := newKunit(t, Config{Size: 64, Debug: "FZPU"})
	var stop atomic.Bool
	var beside sync.WaitGroup
	for range 2 {
		beside.Go(func() {
			for n := 0; !stop.Load(); n++ {
				p, err := k.AllocNoWait()
				if err != nil {
					continue
				}
				if n%2 == 0 {
					k.FreeRCUNoWait(p)
				} else {
					k.FreeDeferred(p)
				}
			}
		})
	}
	for round := range 8 {
		ps := take(t, k.Cache, 200)
		for i, p := range ps {
			if (i+round)%2 == 0 {
				k.FreeRCU(p)
			} else {
				k.Free(p)
			}
		}
		if err := k.Validate(); err != nil {
			t.Error(err)
		}
	}
	stop.Store(true)
	beside.Wait()
	same(t, "Barrier", k.Barrier(t.Context()), nil)
	k.validate(t, 0)
}

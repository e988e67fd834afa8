package slub_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// The pages of empty slabs have no owner until the grace period is over; then the arena has them.
func TestTypesafePagesWait(t *testing.T) {
	a := newArena(t, arena.Config{})
	domain := new(rcu.Domain)
	c := open(t, a, slub.Config{Size: 64, Flags: slub.TypesafeByRCU, Domain: domain})
	r := domain.Register("reader")
	ps := take(t, c, 2000)
	for _, p := range ps {
		*(*uint64)(p) = 0x7ea
	}
	used := a.Stats().Nodes[0].Used
	freeAll(c, ps)
	if n := c.Shrink(); n != 0 {
		t.Fatalf("%d slabs are left", n)
	}
	if got := a.Stats().Nodes[0].Used; got != used || waitingSlabs(c) == 0 {
		t.Errorf("%d bytes of %d are held for a reader, %d slabs wait", got, used, waitingSlabs(c))
	}
	other := open(t, a, slub.Config{Size: 64})
	for _, p := range take(t, other, 2000) {
		*(*uint64)(p) = 0xbad
		defer other.Free(p)
	}
	for _, p := range ps {
		if tag := *(*uint64)(p); tag != 0x7ea {
			t.Fatalf("a reader finds %#x in an object's place", tag)
		}
	}
	r.Quiescent()
	r.Offline()
	for range 2 { // one grace period for the first slab, one for those retired meanwhile
		if err := domain.Barrier(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if n := waitingSlabs(c); n != 0 {
		t.Errorf("%d slabs wait after two grace periods", n)
	}
	r.Close()
}

// A pointer into a slab that waits is refused.
func TestTypesafeFreeOfRetired(t *testing.T) {
	domain := new(rcu.Domain)
	r := domain.Register("reader")
	c := openRecorder(t, nil, slub.Config{Size: 64, Flags: slub.TypesafeByRCU, Domain: domain})
	p := take(t, c.Cache, 1)[0]
	c.Free(p)
	c.Shrink()
	c.Free(p)
	if len(c.Reports) != 1 {
		t.Errorf("a second free, of a slab that waits: reports %v", c.Reports)
	}
	r.Offline()
	r.Close()
}

// Close waits for slabs whose pages do.
func TestTypesafeClose(t *testing.T) {
	a := newArena(t, arena.Config{})
	domain := new(rcu.Domain)
	c := open(t, a, slub.Config{Size: 64, Flags: slub.TypesafeByRCU, Domain: domain})
	freeAll(c, take(t, c, 1000))
	r := domain.Register("reader")
	closed := make(chan error)
	go func() { closed <- c.Close() }()
	select {
	case err := <-closed:
		t.Fatalf("closed with a reader online: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	r.Offline()
	if err := <-closed; err != nil || a.Stats().Nodes[0].Used != 0 {
		t.Errorf("%v; %d bytes are still used", err, a.Stats().Nodes[0].Used)
	}
	r.Close()
}

// An object that one goroutine frees and another allocates is the other's: a plain write after
// another's plain write is no race.
func TestTypesafeHandOver(t *testing.T) {
	c := open(t, nil, slub.Config{Size: 64, Flags: slub.TypesafeByRCU, Domain: new(rcu.Domain)})
	var writers sync.WaitGroup
	for i := range 4 {
		writers.Go(func() {
			for range 2000 {
				p, err := c.Alloc()
				if err != nil {
					t.Error(err)
					return
				}
				*(*int)(p) = i
				c.Free(p)
			}
		})
	}
	writers.Wait()
}

// A tagged object: what readers rely on is that tag is always one of the cache's.
type tagged struct {
	tag  uint64
	key  atomic.Uint64
	refs atomic.Int64
}

// Readers look objects up without a lock while writers free them at once, shrink, and fill what
// they gave back with something else.
func TestTypesafeStress(t *testing.T) {
	rounds := 30
	if sanitized {
		rounds = 8
	}
	const tag = 0x7ea7ea7ea7ea
	a := newArena(t, arena.Config{MaxDirty: mem.PageSize})
	domain := new(rcu.Domain)
	c := open(t, a, slub.Config{Size: int64(unsafe.Sizeof(tagged{})), Flags: slub.TypesafeByRCU, Domain: domain, MinPartial: 1,
		Ctor: func(p unsafe.Pointer) { (*tagged)(p).tag = tag }})
	other := open(t, a, slub.Config{Size: int64(unsafe.Sizeof(tagged{}))})
	var table [256]atomic.Uintptr
	stop := make(chan struct{})
	var readers, writers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			r := domain.Register("lookup")
			defer r.Close()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if o := (*tagged)(mem.Ptr(table[i%len(table)].Load())); o != nil && o.tag != tag {
					t.Errorf("a reader finds tag %#x", o.tag)
					return
				}
				r.Quiescent()
			}
		})
	}
	for range 2 {
		writers.Go(func() {
			for range rounds {
				for i := range table {
					p, err := c.Alloc()
					if err != nil {
						t.Error(err)
						return
					}
					if old := table[i].Swap(uintptr(p)); old != 0 {
						c.Free(mem.Ptr(old))
					}
				}
				for i := range table {
					if old := table[i].Swap(0); old != 0 {
						c.Free(mem.Ptr(old))
					}
				}
				c.Shrink()
				ps := take(t, other, 500)
				for _, p := range ps {
					*(*uint64)(p) = 1
				}
				freeAll(other, ps)
				other.Shrink()
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	for i := range table {
		if old := table[i].Load(); old != 0 {
			c.Free(mem.Ptr(old))
		}
	}
}

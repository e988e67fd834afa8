//go:build asan

package slub

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
)

// read loads the byte off bytes from the victim's object.
func (v *victim) read(off int) { loaded = *(*byte)(unsafe.Add(v.p, off)) }

// write stores to the byte off bytes from the victim's object.
func (v *victim) write(off int) { *(*byte)(unsafe.Add(v.p, off)) = 1 }

// badAccesses are reads and writes of memory that no user has, each of a kind of its own.
func badAccesses() (cases []misuse) {
	// add adds an access off bytes from the object's start, after what prepare does.
	add := func(kind string, size, off int, prepare func(v *victim) error) {
		for how, access := range map[string]func(*victim, int){"READ": (*victim).read, "WRITE": (*victim).write} {
			cases = append(cases, misuse{fmt.Sprintf("%s of %d bytes, %s at %+d", kind, size, how, off), size, func(v *victim) error {
				if err := prepare(v); err != nil {
					return err
				}
				access(v, off)
				return nil
			}, fmt.Sprintf("use-after-poison OBJECT%+d %s", off, how)})
		}
	}
	nothing := func(*victim) error { return nil }
	free := func(way string) func(*victim) error {
		return func(v *victim) error {
			if v.buckets != nil {
				bucketsWays[way].free(v)
			} else {
				cacheWays[way].free(v)
			}
			return nil
		}
	}
	for _, size := range []int{8, 64, 1024} {
		for _, off := range []int{0, size / 2 &^ 7, size - 1} {
			add("use after Free", size, off, free("Free"))
		}
		add("use after FreeBulk", size, 0, free("FreeBulk"))
		// A fresh slab hands its objects out from its start.
		add("overflow into a fresh object", size, 3*size, nothing)
	}
	add("underflow into a free object", 64, -1, func(v *victim) error {
		known := map[uintptr]unsafe.Pointer{}
		for range 1000 {
			p, err := v.cache.Alloc()
			if err != nil {
				return err
			}
			known[uintptr(p)] = p
			if upper := known[uintptr(p)+64]; upper != nil {
				fmt.Printf("object %#x\n", uintptr(upper))
				v.cache.Free(p)
				v.p = upper
				return nil
			}
		}
		return errors.New("no two objects are neighbours")
	})
	add("underflow into a fresh object", 64, -1, func(v *victim) error {
		c, err := New(v.cache.Arena(), Config{Size: 64, Flags: ShuffleFreelist})
		if err != nil {
			return err
		}
		known := map[uintptr]bool{}
		for range 16 {
			p, err := c.Alloc()
			if err != nil {
				return err
			}
			known[uintptr(p)] = true
			if into := uintptr(p) % mem.PageSize; into >= 64 && !known[uintptr(p)-64] {
				fmt.Printf("object %#x\n", uintptr(p))
				v.p = p
				return nil
			}
		}
		return errors.New("all lower neighbours are in use, or in another page")
	})
	add("use of a slab that was given back", 64, 8, func(v *victim) error {
		v.lent.Return()
		v.cache.Free(v.p)
		v.cache.Shrink()
		return nil
	})
	add("use of an object of a closed cache", 64, 8, func(v *victim) error {
		other, err := New(v.cache.Arena(), Config{Size: 64})
		if err != nil {
			return err
		}
		if v.p, err = other.Alloc(); err != nil {
			return err
		}
		fmt.Printf("object %#x\n", uintptr(v.p))
		other.Free(v.p)
		return other.Close()
	})
	add("use of the bytes behind an object", 20, 21, nothing)
	add("use of an object that is lent, and was not taken", 64, 0, func(v *victim) error {
		v.cache.Free(v.p)
		lent, err := v.cache.Prefill(1)
		if err != nil {
			return err
		}
		if obj := lent.loan.Slots()[lent.n-1]; obj != v.p {
			fmt.Printf("object %#x\n", uintptr(obj))
			v.p = obj
		}
		return nil
	})
	add("use after Prefilled.Free", 64, 0, func(v *victim) error {
		if !v.lent.Free(v.p) {
			return errors.New("the sheaf has no room")
		}
		return nil
	})
	add("use after the grace period", 64, 0, func(v *victim) error {
		c, err := New(v.cache.Arena(), Config{Size: 64})
		if err != nil {
			return err
		}
		if v.p, err = c.Alloc(); err != nil {
			return err
		}
		fmt.Printf("object %#x\n", uintptr(v.p))
		c.FreeRCU(v.p)
		return c.Barrier(context.Background())
	})
	for _, size := range []int{50_000, 1_200_000, maxRun + 1} {
		add("Buckets: use after Free", size, 16, free("Free"))
		add("Buckets: use behind what was asked for", size, size, nothing)
	}
	add("Buckets: use behind what was asked for", 18, 18, nothing)
	add("Buckets: use after Free", 100, 99, free("Free"))
	add("Buckets: use behind what Realloc was asked for", 100, 90, func(v *victim) error {
		_, err := v.buckets.Realloc(v.p, 90)
		return err
	})
	return cases
}

// The address sanitizer reports each kind of bad access, at the access.
func TestEveryBadAccessIsFound(t *testing.T) { inject(t, badAccesses()) }

// What a user may use is used without a report: the room that Size tells, the capacity of Bytes,
// and what a constructor has left in a new object.
func TestGoodAccessesAreSilent(t *testing.T) {
	b := openBuckets(t, nil, BucketsConfig{})
	for _, n := range []int{1, 18, 100, 5000, 40_000, 1_200_000, maxRun + 1} {
		s, err := b.Bytes(n)
		same(t, "Bytes", err, nil)
		for i := range s[:cap(s)] {
			s[:cap(s)][i] = 1
		}
		b.FreeBytes(s)
		p := malloc(t, b, n)
		for i := range b.Size(p) {
			*(*byte)(unsafe.Add(p, i)) = 1
		}
		if p, err = b.Realloc(p, 2*n); err != nil {
			t.Fatal(err)
		}
		*(*byte)(unsafe.Add(p, 2*n-1)) = 1
		b.Free(p)
	}
	c := open(t, nil, Config{Size: 64, Ctor: func(p unsafe.Pointer) { *(*byte)(p) = 7 }})
	p := take(t, c, 1)[0]
	if *(*byte)(p) != 7 {
		t.Error("the constructor's work is lost")
	}
	c.Free(p)
}

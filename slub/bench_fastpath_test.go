package slub

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
)

// BenchmarkBatch allocates 40 objects and frees them, in ns for a pair, beside the same loops
// around functions that do nothing: what calls cost a Go loop, whatever they call. Nothing that a
// call of Go's can do is faster than that.
func BenchmarkBatch(b *testing.B) {
	c, err := New(nil, Config{Size: 64})
	if err != nil {
		b.Fatal(err)
	}
	object := unsafe.Pointer(new([64]byte))
	for name, f := range map[string]struct {
		alloc percpu.PopFunc
		free  percpu.FreeFunc
	}{
		"slubd": {c.pop.Func(), c.free.Func()},
		"empty": {func() (unsafe.Pointer, error) { return object, nil }, func(unsafe.Pointer) {}},
	} {
		b.Run(name, func(b *testing.B) {
			live := make([]uintptr, 40)
			for i := 0; i < b.N; i += len(live) {
				if allocAll(f.alloc, live) != nil {
					b.Fatal("no memory")
				}
				freeEach(f.free, live)
			}
		})
	}
}

//go:noinline
func allocAll(alloc percpu.PopFunc, live []uintptr) error {
	for i := range live {
		p, err := alloc()
		if err != nil {
			return err
		}
		*(*uint64)(p) = uint64(i)
		live[i] = uintptr(p)
	}
	return nil
}

//go:noinline
func freeEach(free percpu.FreeFunc, live []uintptr) {
	for _, p := range live {
		free(mem.Ptr(p))
	}
}

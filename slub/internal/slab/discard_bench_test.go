package slab

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
)

// BenchmarkSlab makes a slab, hands all of its objects out, frees them and gives the slab back.
func BenchmarkSlab(b *testing.B) {
	for name, size := range map[string]uintptr{"64": 64, "512": 512} {
		b.Run(name, func(b *testing.B) {
			r := open(b, size, Config{MinPartial: arena.None})
			ps, objs := make([]unsafe.Pointer, r.perSlab), make([]unsafe.Pointer, r.perSlab)
			for b.Loop() {
				if _, err := r.Take(0, ps, false); err != nil {
					b.Fatal(err)
				}
				copy(objs, ps)
				r.FreeBulk(objs)
			}
		})
	}
}

package slub

import (
	"errors"
	"slices"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/sheaves"
)

func TestSlabOrderTunables(t *testing.T) {
	for _, c := range []struct {
		slabs SlabLimits
		size  uintptr
		want  int
	}{
		{SlabLimits{}, 64, 0}, {SlabLimits{MinOrder: 2}, 64, 2}, {SlabLimits{MinObjects: 1}, 1024, 0}, {SlabLimits{MinObjects: 16}, 1024, 2},
		{SlabLimits{MaxOrder: 1, MinObjects: 64}, 1024, 1}, {SlabLimits{MaxOrder: 5, MinObjects: 128}, 1024, 5},
		{SlabLimits{MinObjects: 1}, 3000, 2},   // the lowest order that wastes 1/8 at most: 1384
		{SlabLimits{MaxOrder: 1}, 64 << 10, 4}, // one object needs this order
	} {
		if got := c.slabs.order(c.size, 2); got != c.want {
			t.Errorf("%+v: order %d for %d bytes, want %d", c.slabs, got, c.size, c.want)
		}
	}
	for _, s := range []SlabLimits{{MinOrder: -1}, {MinOrder: 4}, {MaxOrder: 11}, {MinOrder: 5, MaxOrder: 4}, {MinObjects: -1}} {
		if err := (Config{Size: 8, Slabs: s}).Validate(); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", s, err)
		}
	}
	c := open(t, nil, Config{Size: 64, Slabs: SlabLimits{MinOrder: 3}})
	if s := c.Stats(); s.Order != 3 || s.ObjectsPerSlab != 512 {
		t.Errorf("order %d, %d objects", s.Order, s.ObjectsPerSlab)
	}
}

// Slab order, objects per slab and sheaf capacity are equal to those that a 7.1 kernel shows for
// its kmalloc caches on a machine of four to seven CPUs. (A test of package slab has min_partial.)
func TestFiguresOfTheKernel(t *testing.T) {
	for _, k := range []struct {
		size                     uintptr
		capacity, objects, order int
	}{{128, 60, 32, 0}, {256, 28, 16, 0}, {1024, 12, 16, 2}, {4096, 4, 8, 3}} {
		for cpus := 4; cpus < 8; cpus++ {
			order := SlabLimits{}.order(k.size, cpus)
			got := []int{sheaves.Capacity(k.size, 1), int(mem.PageSize << order / k.size), order}
			if want := []int{k.capacity, k.objects, k.order}; !slices.Equal(got, want) {
				t.Errorf("size %d, %d CPUs: capacity, objects, order are %v, want %v", k.size, cpus, got, want)
			}
		}
	}
}

func TestLayout(t *testing.T) {
	ctor := func(unsafe.Pointer) {}
	for _, c := range []struct {
		cfg  Config
		want layout // size is the config's
	}{
		{Config{Size: 1}, layout{slot: 8, align: 8, fp: 0}},
		{Config{Size: 8}, layout{slot: 8, align: 8, fp: 0}},
		{Config{Size: 12}, layout{slot: 16, align: 8, fp: 0}},
		{Config{Size: 24}, layout{slot: 24, align: 8, fp: 8}},
		{Config{Size: 64}, layout{slot: 64, align: 8, fp: 32}},
		{Config{Size: 100, Align: 32}, layout{slot: 128, align: 32, fp: 48}},
		{Config{Size: 64, FreePtrOffset: At(0)}, layout{slot: 64, align: 8, fp: 0}},
		{Config{Size: 20, FreePtrOffset: At(16)}, layout{slot: 24, align: 8, fp: 16}},
		{Config{Size: 64, Ctor: ctor}, layout{slot: 72, align: 8, fp: 64}},
		{Config{Size: 61, Ctor: ctor}, layout{slot: 72, align: 8, fp: 64}},
		{Config{Size: 64, Ctor: ctor, FreePtrOffset: At(8)}, layout{slot: 64, align: 8, fp: 8}},
		{Config{Size: 65, Flags: HWCacheAlign}, layout{slot: 128, align: 64, fp: 32}},
		{Config{Size: 33, Flags: HWCacheAlign}, layout{slot: 64, align: 64, fp: 16}},
		{Config{Size: 32, Flags: HWCacheAlign}, layout{slot: 32, align: 32, fp: 16}},
		{Config{Size: 9, Flags: HWCacheAlign}, layout{slot: 16, align: 16, fp: 0}},
		{Config{Size: 5, Flags: HWCacheAlign}, layout{slot: 8, align: 8, fp: 0}},
	} {
		c.want.size = uintptr(c.cfg.Size)
		if got := c.cfg.layout(); got != c.want {
			t.Errorf("size %d, align %d, %v: %+v, want %+v", c.cfg.Size, c.cfg.Align, c.cfg.FreePtrOffset, got, c.want)
		}
	}
}

// The wanted orders are those that 7.x kernels show for kmalloc caches on two or three CPUs;
// those of odd sizes are calculated by hand.
func TestSlabOrder(t *testing.T) {
	for size, want := range map[uintptr]int{
		8: 0, 64: 0, 96: 0, 128: 0, 256: 0, 512: 1, 1024: 2, 2048: 3, 4096: 3, 8192: 3,
		700: 2, 5000: 3, 32768: 3, 40000: 4, 65536: 4, 4 * mib: 10, 4*mib + 8: -1,
	} {
		if got := (SlabLimits{}).order(size, 2); got != want {
			t.Errorf("objects of %d bytes: order %d, want %d", size, got, want)
		}
	}
	if a, b := (SlabLimits{}).order(256, 2), (SlabLimits{}).order(256, 64); a >= b {
		t.Errorf("objects of 256 bytes: order %d for 2 CPUs, %d for 64", a, b)
	}
}

func TestTypesafeConfig(t *testing.T) {
	for _, f := range []Flags{InitOnAlloc, InitOnFree} {
		if err := (Config{Size: 8, Flags: TypesafeByRCU | f}).Validate(); !errors.Is(err, ErrConfig) {
			t.Errorf("with %#x: %v", f, err)
		}
	}
	if l := (Config{Size: 64, Flags: TypesafeByRCU}).layout(); l.fp != 64 || l.slot != 72 {
		t.Errorf("layout %+v", l)
	}
	if l := (Config{Size: 64, Flags: TypesafeByRCU, FreePtrOffset: At(8)}).layout(); l.fp != 8 || l.slot != 64 {
		t.Errorf("layout %+v", l)
	}
}

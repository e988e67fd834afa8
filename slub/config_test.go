package slub

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
)

func TestValidateReportsAllProblemsAtOnce(t *testing.T) {
	nothing := func(unsafe.Pointer) {}
	bad := Config{
		Name: "no spaces", Align: 24, FreePtrOffset: At(4), SheafCapacity: -1, Flags: 1<<31 | NoSheaves | InitOnFree,
		RCUDtor: nothing, Ctor: nothing, RCUDelay: -time.Second,
	}
	err := bad.Validate()
	same(t, "Validate", err, ErrConfig)
	for _, want := range []string{"Name", "Size", "Align", "FreePtrOffset", "SheafCapacity", "Flags", "RCUDtor", "Ctor", "RCUDelay"} {
		if !strings.Contains(err.Error(), `cache "no spaces": Config.`+want+": ") {
			t.Errorf("no word of %q in\n%v", want, err)
		}
	}
	if n := len(err.(interface{ Unwrap() []error }).Unwrap()); n != 9 {
		t.Errorf("%d problems, want 9:\n%v", n, err)
	}
	if _, err := New(nil, bad); !errors.Is(err, ErrConfig) {
		t.Errorf("New takes what Validate refuses: %v", err)
	}
}

func TestValidateBounds(t *testing.T) {
	const largest = 4 * mib
	for _, c := range []struct {
		name string
		cfg  Config
		ok   bool
	}{
		{"least", Config{Size: 1}, true},
		{"largest", Config{Size: largest, SheafCapacity: percpu.MaxCap}, true},
		{"too large", Config{Size: largest + 1}, false},
		{"longest name", Config{Size: 8, Name: strings.Repeat("n", 64)}, true},
		{"name too long", Config{Size: 8, Name: strings.Repeat("n", 65)}, false},
		{"all characters", Config{Size: 8, Name: "aZ09_-.:/"}, true},
		{"number sign, which New appends", Config{Size: 8, Name: "a#1"}, false},
		{"page alignment", Config{Size: 8, Align: mem.PageSize}, true},
		{"more", Config{Size: 8, Align: 2 * mem.PageSize}, false},
		{"free pointer at the end", Config{Size: 20, FreePtrOffset: At(16)}, true},
		{"behind it", Config{Size: 20, FreePtrOffset: At(24)}, false},
		{"so far that sums wrap", Config{Size: 20, FreePtrOffset: At(^uintptr(7))}, false},
		{"capacity", Config{Size: 8, SheafCapacity: percpu.MaxCap + 1}, false},
		{"full barn", Config{Size: 8, BarnFull: -1}, false},
		{"empty barn", Config{Size: 8, BarnEmpty: 1 << 31}, false},
	} {
		if err := c.cfg.Validate(); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
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
		c.want.size = c.cfg.Size
		if got := c.cfg.layout(); got != c.want {
			t.Errorf("size %d, align %d, %v: %+v, want %+v", c.cfg.Size, c.cfg.Align, c.cfg.FreePtrOffset, got, c.want)
		}
	}
}

// The orders that 7.x kernels show for kmalloc caches on two or three CPUs, and
// odd sizes by hand.
func TestSlabOrder(t *testing.T) {
	for size, want := range map[uintptr]int{
		8: 0, 64: 0, 96: 0, 128: 0, 256: 0, 512: 1, 1024: 2, 2048: 3, 4096: 3, 8192: 3,
		700: 2, 5000: 3, 32768: 3, 40000: 4, 65536: 4, 4 * mib: 10, 4*mib + 8: -1,
	} {
		if got := (Slabs{}).order(size, 2); got != want {
			t.Errorf("objects of %d bytes: order %d, want %d", size, got, want)
		}
	}
	if a, b := (Slabs{}).order(256, 2), (Slabs{}).order(256, 64); a >= b {
		t.Errorf("objects of 256 bytes: order %d for 2 CPUs, %d for 64", a, b)
	}
}

func TestObjectsTooLargeWithTheirLink(t *testing.T) {
	_, err := New(newArena(t, smallArena), Config{Size: 4 * mib, Ctor: func(unsafe.Pointer) {}})
	same(t, "New", err, ErrConfig)
}

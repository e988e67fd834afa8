package slub_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/slub"
)

func TestValidateReportsAllProblemsAtOnce(t *testing.T) {
	nothing := func(unsafe.Pointer) {}
	bad := slub.Config{
		Name: "no spaces", Align: 24, FreePtrOffset: slub.At(4), SheafCapacity: -1, Flags: 1<<31 | slub.NoSheaves | slub.InitOnFree,
		RCUDtor: nothing, Ctor: nothing, RCUDelay: -time.Second,
	}
	err := bad.Validate()
	same(t, "Validate", err, slub.ErrConfig)
	for _, want := range []string{"Name", "Size", "Align", "FreePtrOffset", "SheafCapacity", "Flags", "RCUDtor", "Ctor", "RCUDelay"} {
		if !strings.Contains(err.Error(), `cache "no spaces": Config.`+want+": ") {
			t.Errorf("no word of %q in\n%v", want, err)
		}
	}
	if n := len(err.(interface{ Unwrap() []error }).Unwrap()); n != 9 {
		t.Errorf("%d problems, want 9:\n%v", n, err)
	}
	if _, err := slub.New(nil, bad); !errors.Is(err, slub.ErrConfig) {
		t.Errorf("New takes what Validate refuses: %v", err)
	}
}

func TestValidateBounds(t *testing.T) {
	const largest = 4 * mib
	for _, c := range []struct {
		name string
		cfg  slub.Config
		ok   bool
	}{
		{"least", slub.Config{Size: 1}, true},
		{"largest", slub.Config{Size: largest, SheafCapacity: percpu.MaxCap}, true},
		{"too large", slub.Config{Size: largest + 1}, false},
		{"longest name", slub.Config{Size: 8, Name: strings.Repeat("n", 64)}, true},
		{"name too long", slub.Config{Size: 8, Name: strings.Repeat("n", 65)}, false},
		{"all characters", slub.Config{Size: 8, Name: "aZ09_-.:/"}, true},
		{"number sign, which New appends", slub.Config{Size: 8, Name: "a#1"}, false},
		{"page alignment", slub.Config{Size: 8, Align: mem.PageSize}, true},
		{"more", slub.Config{Size: 8, Align: 2 * mem.PageSize}, false},
		{"free pointer at the end", slub.Config{Size: 20, FreePtrOffset: slub.At(16)}, true},
		{"behind it", slub.Config{Size: 20, FreePtrOffset: slub.At(24)}, false},
		{"so far that sums wrap", slub.Config{Size: 20, FreePtrOffset: slub.At(^uintptr(7))}, false},
		{"capacity", slub.Config{Size: 8, SheafCapacity: percpu.MaxCap + 1}, false},
		{"full barn", slub.Config{Size: 8, BarnFull: -2}, false},
		{"empty barn", slub.Config{Size: 8, BarnEmpty: 1 << 31}, false},
	} {
		if err := c.cfg.Validate(); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestObjectsTooLargeWithTheirLink(t *testing.T) {
	_, err := slub.New(newArena(t, smallArena), slub.Config{Size: 4 * mib, Ctor: func(unsafe.Pointer) {}})
	same(t, "New", err, slub.ErrConfig)
}

// Where the kernel refuses memory for bookkeeping, users get ErrNoMemory.
func TestNoMemoryForBookkeeping(t *testing.T) {
	a := newArena(t, arena.Config{})
	c := open(t, a, slub.Config{Size: 64})
	defer sys.FailNth(sys.CallReserve, 0, syscall.ENOMEM)()
	_, err := slub.New(a, slub.Config{Size: 64})
	_, errPrefill := c.Prefill(1000)
	for _, err := range []error{err, errPrefill} {
		if !errors.Is(err, slub.ErrNoMemory) || !errors.Is(err, syscall.ENOMEM) {
			t.Errorf("got %v, want ErrNoMemory and ENOMEM", err)
		}
	}
}

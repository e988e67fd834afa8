package sheaves

import (
	"errors"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/rcu"
)

func config(t *testing.T, capacity int) Config {
	return Config{
		Source: newSource(t, 1), Domain: new(rcu.Domain), Capacity: capacity, Slots: newSlots(t),
	}
}

func TestNew(t *testing.T) {
	for _, capacity := range []int{1, 60, percpu.MaxCap} {
		s, err := New(config(t, capacity))
		if err != nil {
			t.Fatal(err)
		}
		if s.delay != 20*time.Millisecond || s.MaxFull() != 10 || s.MaxEmpty() != 10 || s.MaxWaiting() != 512 {
			t.Errorf("defaults are %v, %d, %d, %d", s.delay, s.MaxFull(), s.MaxEmpty(), s.MaxWaiting())
		}
		if got := int(s.Stats().Events[SheafAlloc]); got != 0 {
			t.Errorf("%d sheaves before the first operation", got)
		}
		s.Close()
		if len(s.pool.of) > 0 {
			t.Errorf("%d pools are still mapped", len(s.pool.of))
		}
	}
}

// TestNewRefuses what is missing or out of range, all at once and by name.
func TestNewRefuses(t *testing.T) {
	_, err := New(Config{Nodes: -1, Capacity: -1})
	for _, want := range []string{"Source: nil", "Domain: nil", "Nodes: -1 is not within 1..65536",
		"Capacity: -1 is not within 1..32767"} {
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "sheaves: bad config: "+want) {
			t.Errorf("no word of %q in\n%v", want, err)
		}
	}
	for want, change := range map[string]func(*Config){
		"Capacity: -1 is not within 1..32767":                 func(c *Config) { c.Capacity = -1 },
		"Capacity: 32768 is not within 1..32767":              func(c *Config) { c.Capacity = percpu.MaxCap + 1 },
		"MaxFull: -2 is not within -1..2147483647":            func(c *Config) { c.MaxFull = -2 },
		"MaxEmpty: 2147483648 is not within -1..2147483647":   func(c *Config) { c.MaxEmpty = 1 << 31 },
		"MaxWaiting: 2147483648 is not within -1..2147483647": func(c *Config) { c.MaxWaiting = 1 << 31 },
		"Delay: -1s is negative":                              func(c *Config) { c.Delay = -time.Second },
		"Nodes: 65537 is not within 1..65536":                 func(c *Config) { c.Nodes = 1<<16 + 1 },
		"NodeOfCPU[1]: 1 is not within 0..0":                  func(c *Config) { c.NodeOfCPU = []int{0, 1} },
		"NodeOfCPU[0]: -1 is not within 0..0":                 func(c *Config) { c.NodeOfCPU = []int{-1} },
		"Owners: 2 words for 1 nodes":                         func(c *Config) { c.Owners = []uint32{1, 2} },
		"Owners[0]: 0x0 is not within 1..0x3fffffff":          func(c *Config) { c.Owners = []uint32{0} },
		"Owners[0]: 0x40000000 is not within 1..0x3fffffff":   func(c *Config) { c.Owners = []uint32{1 << 30} },
		"Range: 4096 bytes at 0x1000 for objects of 5000": func(c *Config) {
			c.ObjectSize, c.Range = 5000, Range{Base: 0x1000, Bytes: 4096}
		},
		"Range: 5000 bytes at 0x1000 for objects of 8": func(c *Config) {
			c.Range = Range{Base: 0x1000, Bytes: 5000}
		},
		"Range: 4096 bytes at 0xfffffffffffff800 for objects of 8": func(c *Config) {
			c.Range = Range{Base: 1<<64 - 2048, Bytes: 4096}
		},
		"Range: 4294967296 bytes at 0x1000 for objects of 4294967296": func(c *Config) {
			c.ObjectSize, c.Range = 1<<32, Range{Base: 0x1000, Bytes: 1 << 32}
		},
	} {
		cfg := config(t, 60)
		change(&cfg)
		if _, err := New(cfg); !errors.Is(err, ErrConfig) || err.Error() != "sheaves: bad config: "+want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestNone: None keeps no sheaf of the kind, and 0 is automatic, in a Config and later.
func TestNone(t *testing.T) {
	cfg := config(t, 0)
	cfg.ObjectSize, cfg.MaxFull, cfg.MaxEmpty, cfg.MaxWaiting = 64, None, None, None
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	is := func(capacity, full, empty, waiting int) {
		t.Helper()
		if s.Capacity() != capacity || s.MaxFull() != full || s.MaxEmpty() != empty || s.MaxWaiting() != waiting {
			t.Errorf("capacity %d, limits %d, %d, %d; want %d, %d, %d, %d", s.Capacity(), s.MaxFull(), s.MaxEmpty(),
				s.MaxWaiting(), capacity, full, empty, waiting)
		}
	}
	is(Capacity(64, 0), 0, 0, 0)
	if err := errors.Join(s.SetLimits(0, 0), s.SetCapacity(7, 0)); err != nil {
		t.Error(err)
	}
	is(7, 10, 10, 512)
	if err := errors.Join(s.SetLimits(None, 3), s.SetCapacity(0, None)); err != nil {
		t.Error(err)
	}
	is(Capacity(64, 0), 0, 3, 0)
}

// TestNewWithoutMemory: the mapping for the first sheaves may fail, and what New had before is
// given back.
func TestNewWithoutMemory(t *testing.T) {
	cfg := config(t, percpu.MaxCap)
	for _, slots := range []Slots{cfg.Slots, {}} {
		cfg.Slots = slots
		before := percpu.Cells()
		restore := sys.FailNth(sys.CallReserve, 1, syscall.ENOMEM)
		_, err := New(cfg)
		restore()
		if !errors.Is(err, syscall.ENOMEM) {
			t.Errorf("the mapping failed, and New returned %v", err)
		}
		if now := percpu.Cells(); now != before {
			t.Errorf("%d cells are in use, before %d", now, before)
		}
	}
}

// TestNewWithoutCells: the same when per-CPU memory runs out.
func TestNewWithoutCells(t *testing.T) {
	cfg := config(t, 4)
	defer sys.FailNth(sys.CallReserve, 0, syscall.ENOMEM)()
	var err error
	for err == nil {
		_, err = percpu.NewSlots()
	}
	if _, err := New(cfg); !errors.Is(err, syscall.ENOMEM) {
		t.Errorf("New returned %v", err)
	}
}

// TestCapacity has the kernel's numbers (calculate_sheaf_capacity), and the larger ones for few
// CPUs.
func TestCapacity(t *testing.T) {
	for _, tt := range []struct {
		size                      uintptr
		kernel, some, few, wanted int // wanted: the capacity when 32 are asked for
	}{
		{size: 8, kernel: 60, some: 120, few: 240, wanted: 60},
		{size: 64, kernel: 60, some: 120, few: 240, wanted: 60},
		{size: 128, kernel: 60, some: 120, few: 128, wanted: 60},
		{size: 255, kernel: 60, some: 64, few: 64, wanted: 60},

		{size: 256, kernel: 28, some: 56, few: 64, wanted: 32},
		{size: 512, kernel: 28, some: 32, few: 32, wanted: 32},
		{size: 1023, kernel: 28, some: 28, few: 28, wanted: 32},
		{size: 1024, kernel: 12, some: 16, few: 16, wanted: 32},

		{size: 4095, kernel: 12, some: 12, few: 12, wanted: 32},
		{size: 4096, kernel: 4, some: 4, few: 4, wanted: 32},
		{size: 64 << 10, kernel: 4, some: 4, few: 4, wanted: 32},
		{size: 80 << 10, kernel: 3, some: 3, few: 3, wanted: 32},
		{size: 1 << 20, kernel: 1, some: 1, few: 1, wanted: 32}, // 256 KiB, or one object
	} {
		for factor, want := range map[float64]int{1: tt.kernel, 2: tt.some, 4: tt.few} {
			if got := automatic(tt.size, factor); got != want {
				t.Errorf("automatic(%d, %v) = %d, want %d", tt.size, factor, got, want)
			}
		}
		if got := Capacity(tt.size, 32); got != tt.wanted {
			t.Errorf("Capacity(%d, 32) = %d, want %d", tt.size, got, tt.wanted)
		}
		if got := Capacity(tt.size, 0); got != automatic(tt.size, CapacityFactor()) {
			t.Errorf("Capacity(%d, 0) = %d", tt.size, got)
		}
	}
	for cpus, want := range map[int]float64{1: 4, 16: 4, 32: 2, 64: 1, 65: 1, 512: 1} {
		if got := capacityFactor(cpus); got != want {
			t.Errorf("capacityFactor(%d) = %v, want %v", cpus, got, want)
		}
	}
	// One CPU more never changes a capacity by more than a tenth.
	for cpus := 2; cpus <= 512; cpus++ {
		before, now := automatic(64, capacityFactor(cpus-1)), automatic(64, capacityFactor(cpus))
		if now > before || 10*now < 9*before {
			t.Errorf("with %d CPUs a sheaf holds %d objects, with %d %d", cpus-1, before, cpus, now)
		}
	}
	// The CPUs of the machine don't count, those that the program runs on do.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(48))
	if got, want := CapacityFactor(), capacityFactor(48); got != want {
		t.Errorf("on 48 CPUs at a time the factor is %v, want %v", got, want)
	}
	for _, n := range []int{4, 12, 28, 60} {
		if size := sizeOf(n); size&(size-1) != 0 {
			t.Errorf("a sheaf of %d objects takes %d bytes", n, size)
		}
	}
}

// TestStats: where objects are, and how many operations there were.
func TestStats(t *testing.T) {
	r := newRig(t, 2)
	r.reader()
	r.arrange(state{main: 3, spare: 2, full: 2, empty: 1})
	before := r.Stats()
	r.park(1)
	r.freeRCU(2)
	for range 2 {
		alloc(r)
	}
	free(r)
	s := r.Stats()
	for e, want := range (events{AllocFastpath: 2, FreeFastpath: 1, FreeRCUSheaf: 6}) {
		if got := int(s.Events[e] - before.Events[e]); got != want {
			t.Errorf("%v counted %d times, want %d", e, got, want)
		}
	}
	if s.MainObjects != 4 || s.RCUObjects != 2 {
		t.Errorf("%d objects on CPUs, %d in rcu_free, want 4 and 2", s.MainObjects, s.RCUObjects)
	}
	// The two rcu_free sheaves took the barn's empty one and a new one.
	if want := (BarnStats{Full: 2, Waiting: 1, Objects: 8, WaitingObjects: 4}); s.Barns[0] != want || s.Barns[1] != (BarnStats{}) {
		t.Errorf("barns hold %+v", s.Barns)
	}
}

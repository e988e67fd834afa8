package sheaves

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/rcu"
)

func config(t *testing.T, capacity int) Config {
	return Config{
		Slots: newSlots(t), Own: own, NodeOfCPU: func(int) int { return 0 }, Nodes: 1, NodeOf: nodeOf,
		Source: newSource(t, 1), Domain: new(rcu.Domain), Capacity: capacity,
	}
}

func TestNew(t *testing.T) {
	for _, capacity := range []int{1, 60, percpu.MaxCap} {
		s, err := New(config(t, capacity))
		if err != nil {
			t.Fatal(err)
		}
		if s.Delay != 20*time.Millisecond || s.MaxFull() != 10 || s.MaxEmpty() != 10 || s.MaxWaiting() != 512 {
			t.Errorf("defaults are %v, %d, %d, %d", s.Delay, s.MaxFull(), s.MaxEmpty(), s.MaxWaiting())
		}
		if got := int(s.Stats().Events[SheafAlloc]); got != percpu.NumCPU() {
			t.Errorf("%d sheaves for %d CPUs", got, percpu.NumCPU())
		}
		s.Close()
		if len(s.pool.of) > 0 {
			t.Errorf("%d pools are still mapped", len(s.pool.of))
		}
	}
}

// TestNewRefuses what is missing or out of range, all at once and by name.
func TestNewRefuses(t *testing.T) {
	_, err := New(Config{})
	for _, want := range []string{"Slots are none", "Own is nil", "NodeOfCPU is nil", "NodeOf is nil", "Source is nil", "Domain is nil",
		"Nodes: 0 is not within 1..2147483647", "Capacity: 0 is not within 1..32767"} {
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "sheaves: bad config: "+want) {
			t.Errorf("no word of %q in\n%v", want, err)
		}
	}
	for want, change := range map[string]func(*Config){
		"Capacity: -1 is not within 1..32767":              func(c *Config) { c.Capacity = -1 },
		"Capacity: 32768 is not within 1..32767":           func(c *Config) { c.Capacity = percpu.MaxCap + 1 },
		"MaxFull: -1 is not within 0..2147483647":          func(c *Config) { c.MaxFull = -1 },
		"MaxEmpty: 2147483648 is not within 0..2147483647": func(c *Config) { c.MaxEmpty = 1 << 31 },
		"MaxWaiting: -1 is not within 0..2147483647":       func(c *Config) { c.MaxWaiting = -1 },
		"Delay: -1s is negative":                           func(c *Config) { c.Delay = -time.Second },
	} {
		cfg := config(t, 60)
		change(&cfg)
		if _, err := New(cfg); !errors.Is(err, ErrConfig) || err.Error() != "sheaves: bad config: "+want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestNewWithoutMemory: each mapping may fail, and those made before are given back.
func TestNewWithoutMemory(t *testing.T) {
	made := percpu.NumCPU() // of the largest sheaves each is a mapping of its own
	cfg := config(t, percpu.MaxCap)
	for n := 1; n <= made; n++ {
		restore := sys.FailNth(sys.CallReserve, n, syscall.ENOMEM)
		_, err := New(cfg)
		restore()
		if !errors.Is(err, syscall.ENOMEM) {
			t.Errorf("mapping %d of %d failed, and New returned %v", n, made, err)
		}
	}
	refused := errors.New("refused")
	defer sys.FailNth(sys.CallReserve, made, syscall.ENOMEM)()
	defer sys.FailNth(sys.CallDiscard, made, refused)()
	_, _ = New(cfg)
	if err := sys.Discard(0, mem.PageSize); !errors.Is(err, refused) {
		t.Errorf("New has not given back the %d sheaves it had: %v", made-1, err)
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

// TestCapacity has the kernel's numbers (calculate_sheaf_capacity), and those that few CPUs make of them.
func TestCapacity(t *testing.T) {
	for _, tt := range []struct {
		size                      uintptr
		kernel, some, few, wanted int // wanted: the capacity when 32 are asked for
	}{
		{8, 60, 120, 240, 60}, {64, 60, 120, 240, 60}, {128, 60, 120, 128, 60}, {255, 60, 64, 64, 60},
		{256, 28, 56, 64, 32}, {512, 28, 32, 32, 32}, {1023, 28, 28, 28, 32}, {1024, 12, 16, 16, 32},
		{4095, 12, 12, 12, 32}, {4096, 4, 4, 4, 32}, {1 << 20, 4, 4, 4, 32},
	} {
		for growth, want := range map[int]int{1: tt.kernel, 2: tt.some, 4: tt.few} {
			if got := automatic(tt.size, growth); got != want {
				t.Errorf("automatic(%d, %d) = %d, want %d", tt.size, growth, got, want)
			}
		}
		if got := Capacity(tt.size, 32); got != tt.wanted {
			t.Errorf("Capacity(%d, 32) = %d, want %d", tt.size, got, tt.wanted)
		}
		if got := Capacity(tt.size, 0); got != automatic(tt.size, Growth()) {
			t.Errorf("Capacity(%d, 0) = %d", tt.size, got)
		}
	}
	for cpus, want := range map[int]int{1: 4, 16: 4, 17: 2, 64: 2, 65: 1, 512: 1} {
		if got := growth(cpus); got != want {
			t.Errorf("growth(%d) = %d, want %d", cpus, got, want)
		}
	}
	for _, n := range []int{4, 12, 28, 60} {
		if size := sizeOf(n); size&(size-1) != 0 {
			t.Errorf("a sheaf of %d objects takes %d bytes", n, size)
		}
	}
}

// TestStats: what is where, and the operations' counts.
func TestStats(t *testing.T) {
	r := newRig(t, 2)
	r.reader()
	r.arrange(state{3, 2, 2, 1})
	before := r.Stats()
	r.park(1)
	r.retire(2)
	for range 2 {
		alloc(r)
	}
	free(r)
	s := r.Stats()
	if s.Pops-before.Pops != 2 || s.Pushes-before.Pushes != 1 || s.RCUPushes-before.RCUPushes != 6 {
		t.Errorf("counted %d pops, %d pushes, %d to rcu_free, want 2, 1, 6", s.Pops-before.Pops, s.Pushes-before.Pushes, s.RCUPushes-before.RCUPushes)
	}
	if s.MainObjects != 4 || s.RCUObjects != 2 {
		t.Errorf("%d objects on CPUs, %d in rcu_free, want 4 and 2", s.MainObjects, s.RCUObjects)
	}
	// The two rcu_free sheaves took the barn's empty one and a new one.
	if want := (BarnStats{Full: 2, Waiting: 1, Objects: 8, WaitingObjects: 4}); s.Barns[0] != want || s.Barns[1] != (BarnStats{}) {
		t.Errorf("barns hold %+v", s.Barns)
	}
}

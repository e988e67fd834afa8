package percpu

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
)

// eachEngine runs a test under every engine that works here.
func eachEngine(t *testing.T, test func(t *testing.T)) {
	engines := []engine{newTrylock()}
	if e, err := newRseq(); err == nil {
		stack := e
		stack.name = "rseq-abi0"
		engines = append(engines, withRegisters(e), stack)
	} else {
		t.Logf("without rseq: %v", err)
	}
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			before := current
			current = e
			defer func() { current = before }()
			test(t)
		})
	}
}

const testOwn = 0x1234

// arrays gives every CPU's stack an array of its own with room for limit objects.
func arrays(t *testing.T, k Kind, limit int) Slots {
	t.Helper()
	slots, err := NewSlots()
	if err != nil {
		t.Fatal(err)
	}
	for cpu := range NumCPU() {
		slots.Stack(cpu, k).Install(offHeap(t, uintptr(limit)*8), 0, limit, testOwn)
	}
	return slots
}

func offHeap(t *testing.T, n uintptr) uintptr {
	t.Helper()
	addr, err := Reserve(n)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// object makes a recognisable pointer without memory behind it.
func object(i int) unsafe.Pointer { return mem.Ptr(uintptr(0x7000_0000_0000 + i*64)) }

func index(p unsafe.Pointer) int { return int(uintptr(p)-0x7000_0000_0000) / 64 }

// total sums all CPUs' snapshots.
func total(s Slots, k Kind) (c Counts) {
	for cpu := range NumCPU() {
		n := s.Snapshot(cpu, k)
		c.Size += n.Size
		c.Pushes += n.Pushes
		c.Pops += n.Pops
	}
	return c
}

package percpu

import (
	"errors"
	"os"
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// The tests below count over all CPUs, so that a migration in the middle doesn't make them fail.

func TestOperations(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		for _, k := range []Kind{Main, RCU} {
			slots := arrays(t, k, 4)
			var slowPops int
			var refused []unsafe.Pointer
			pop := newPop(slots, k, func() (unsafe.Pointer, error) { slowPops++; return nil, nil })
			refuse := func(p unsafe.Pointer) { refused = append(refused, p) }
			free := newFree(filter(slots, k, testOwn), refuse)
			newFree(filter(slots, k, testOwn+1), refuse)(object(99))
			if len(refused) != 1 || refused[0] != object(99) {
				t.Fatalf("an object of another owner was taken: %v", refused)
			}
			want := 4 * NumCPU()
			seen := map[unsafe.Pointer]bool{}
			for i := 0; i < 1000 && total(slots, k).Size < want; i++ {
				free(object(i))
			}
			for i := 0; i < 1000 && total(slots, k).Size > 0; i++ {
				if p, _ := pop(); p != nil {
					if seen[p] {
						t.Fatalf("object %d was popped twice", index(p))
					}
					seen[p] = true
				}
			}
			c := total(slots, k)
			if int(c.Pushes) < 4 || c.Pushes != c.Pops+uint64(c.Size) || int(c.Pops) != len(seen) {
				t.Errorf("counted %+v for %d objects popped", c, len(seen))
			}
			if len(refused) == 1 && slowPops == 0 {
				t.Error("neither a full nor an empty stack called its slow path")
			}
		}
	})
}

func TestHeldStackRefuses(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		slots := arrays(t, Main, 4)
		for cpu := range NumCPU() {
			st := slots.LockCPU(cpu, Main)
			st.PushN([]unsafe.Pointer{object(cpu)})
			if again := slots.TryLockCPU(cpu, Main); again != nil {
				t.Error("a held stack was locked again")
			}
			defer st.Unlock()
		}
		if st, _ := slots.TryLock(Main); st != nil {
			t.Error("a held stack was locked again from its own CPU")
		}
		slow := 0
		pop := newPop(slots, Main, func() (unsafe.Pointer, error) { slow++; return nil, nil })
		if p, _ := pop(); p != nil {
			t.Error("popped from a held stack")
		}
		newFree(filter(slots, Main, testOwn), func(unsafe.Pointer) { slow++ })(object(77))
		if slow != 2 {
			t.Errorf("%d of 2 operations took the slow path", slow)
		}
	})
}

func TestHolderCounts(t *testing.T) {
	slots := arrays(t, Main, 8)
	st := slots.LockCPU(0, Main)
	objs := []unsafe.Pointer{object(1), object(2), object(3)}
	if n := st.PushN(objs); n != 3 {
		t.Fatalf("pushed %d of 3", n)
	}
	var dst [2]unsafe.Pointer
	if n := st.PopN(dst[:]); n != 2 || dst[1] != object(3) {
		t.Fatalf("popped %d: %v", n, dst)
	}
	st.SetSize(0)
	st.CountPush()
	st.SetSpare(0x1000, 5)
	st.Unlock()
	c := slots.Snapshot(0, Main)
	if c.Size != 0 || c.Pushes != 4 || c.Pops != 2 || c.Spare != 5 {
		t.Errorf("snapshot is %+v", c)
	}
}

func TestCountSurvivesFold(t *testing.T) {
	slots := arrays(t, Main, 8)
	st := slots.Stack(0, Main)
	// As if 2^46 pushes and as many pops had happened since the last fold.
	st.head = 1<<47<<opShift | 3
	st.base = 3
	c := slots.Snapshot(0, Main)
	if c.Pushes != 1<<46 || c.Pops != 1<<46 || c.Size != 3 {
		t.Errorf("snapshot is %+v", c)
	}
	if st.head != st.base {
		t.Error("a count near its end was not folded")
	}
}

func TestZeroedSlotsRefuse(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		slots, err := NewSlots()
		if err != nil {
			t.Fatal(err)
		}
		slow := 0
		newFree(filter(slots, Main, 0), func(unsafe.Pointer) { slow++ })(object(1))
		_, _ = newPop(slots, Main, func() (unsafe.Pointer, error) { slow++; return nil, nil })()
		if slow != 2 {
			t.Errorf("%d of 2 operations on zeroed slots took the slow path", slow)
		}
	})
}

func TestChoice(t *testing.T) {
	if e, why := choose("trylock"); e.name != "trylock" || why == "" {
		t.Errorf("forced trylock gives %s (%s)", e.name, why)
	}
	if e, why := choose("sheaf"); e.name == "rseq" && !strings.Contains(why, `"sheaf"`) {
		t.Errorf("an unknown engine's name is not reported: %q", why)
	}
	if forced := os.Getenv("SLUBD_ENGINE"); forced == "rseq" && Engine() != "rseq" {
		t.Errorf("SLUBD_ENGINE=rseq gives %s: %s", Engine(), Reason())
	}
}

// TestSlowPathKeepsCallersFrame has the slow paths use their arguments after a call, so that Go
// stores them in the caller's frame: in the space that the caller reserves for its call, not in
// the caller's variables. (A slow path once had one argument more than its operation, and stored
// it over a loop's counter.)
func TestSlowPathKeepsCallersFrame(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		slots, err := NewSlots()
		if err != nil {
			t.Fatal(err)
		}
		var calls uintptr
		pop := newPop(slots, Main, func() (unsafe.Pointer, error) {
			count(&calls)
			return nil, nil
		})
		free := newFree(filter(slots, Main, testOwn), func(p unsafe.Pointer) {
			count(&calls)
			calls += uintptr(p) & 1
		})
		if n := countRounds(pop, free); n != 6 || calls != 12 {
			t.Errorf("a loop of 6 rounds made %d, with %d calls", n, calls)
		}
	})
}

//go:noinline
func count(n *uintptr) { *n++ }

// countRounds keeps its counters on the stack during the calls.
//
//go:noinline
func countRounds(pop PopFunc, free FreeFunc) (n int) {
	for i := 0; i < 6 && n < 100; i++ {
		free(object(i))
		_, _ = pop()
		n++
	}
	return n
}

// TestSelfTestRejects breaks each of the engine's operations in turn.
func TestSelfTestRejects(t *testing.T) {
	good := newTrylock()
	breakages := map[string]func(*engine){
		"pop returns another object": func(e *engine) {
			e.initPop = func(p *Pop) {
				good.initPop(p)
				pop := p.slow
				p.slow = func() (unsafe.Pointer, error) {
					if p, err := pop(); p == nil {
						return p, err
					}
					return object(1), nil
				}
			}
		},
		"pop never finds a stack due": func(e *engine) {
			e.initPop = func(p *Pop) {
				slow, slots := p.slow, p.slots
				p.SetSlowOnly(func() (unsafe.Pointer, error) {
					st, _ := hinted(slots)
					if !st.mayPop() || !st.tryLockLocal() {
						return slow()
					}
					defer st.Unlock()
					return st.Pop(), nil
				})
			}
		},
		"pop skips the slow path": func(e *engine) {
			e.initPop = func(p *Pop) {
				p.slow = func() (unsafe.Pointer, error) { return nil, errors.New("other") }
				good.initPop(p)
			}
		},
		"free skips the slow path": func(e *engine) {
			e.initFree = func(f *Free) { f.slow = noFree; good.initFree(f) }
		},
		"free mangles its slow call": func(e *engine) {
			e.initFree = func(f *Free) {
				slow := f.slow
				f.slow = func(p unsafe.Pointer) { slow(unsafe.Add(p, 8)) }
				good.initFree(f)
			}
		},
		"lock always succeeds": func(e *engine) { e.lock = func(uintptr) int { return 0 } },
		"lock never succeeds":  func(e *engine) { e.lock = func(uintptr) int { return -1 } },
		"pop crashes": func(e *engine) {
			e.initPop = func(p *Pop) { p.SetSlowOnly(func() (unsafe.Pointer, error) { panic("bad ABI") }) }
		},
	}
	if err := selfTest(good); err != nil {
		t.Fatal(err)
	}
	for name, broken := range breakages {
		e := good
		broken(&e)
		if selfTest(e) == nil {
			t.Errorf("not noticed: %s", name)
		}
	}
}

// TestSelfTestUnmaps: each self-test unmaps the page that it maps.
func TestSelfTestUnmaps(t *testing.T) {
	for name, test := range map[string]func(engine) error{"selfTest": selfTest, "selfTestChoice": selfTestChoice} {
		page := offHeap(t, mem.PageSize)
		refused := errors.New("refused")
		restore := sys.FailNth(sys.CallUnmap, 2, refused)
		_ = test(newTrylock())
		err := Unreserve(page, mem.PageSize)
		restore()
		if !errors.Is(err, refused) {
			t.Errorf("%s didn't unmap one page: the second call returned %v", name, err)
		}
	}
}

func TestCPUInRange(t *testing.T) {
	if NumCPU() < 1 || CPU() < 0 || CPU() >= NumCPU() {
		t.Errorf("CPU %d of %d", CPU(), NumCPU())
	}
}

func TestCounters(t *testing.T) {
	c, err := NewCounters(3)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan bool)
	for range 4 {
		go func() {
			for range 1000 {
				c.Add(1, 2)
			}
			done <- true
		}()
	}
	for range 4 {
		<-done
	}
	if c.Sum(0) != 0 || c.Sum(1) != 8000 || c.Sum(2) != 0 {
		t.Errorf("sums are %d %d %d", c.Sum(0), c.Sum(1), c.Sum(2))
	}
	c.Add(0, 5)
	c.Add(2, 7)
	if sums := c.Sums(); sums != [MaxCounters]uint64{5, 8000, 7} {
		t.Errorf("all sums are %v", sums)
	}
}

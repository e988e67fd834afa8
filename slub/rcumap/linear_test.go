package rcumap

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/slubd/slubd/internal/testutil"
)

// call is one operation on one key, and answer what it returned.
type call struct {
	key, op, value int
}

type answer struct {
	value int // the one found; 0 for none
	done  bool
}

const (
	opGet    = iota
	opPut    // value
	opDelete // done: it was there
	opAdd    // Update that only puts where nothing is; done: it did
	opTake   // DeleteIf the value is odd; done: it was
	opCount
)

// register is what one key does, one operation after the other. Its state is the value, 0 for none.
var register = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[int][]porcupine.Operation{}
		for _, op := range history {
			key := op.Input.(call).key
			byKey[key] = append(byKey[key], op)
		}
		var parts [][]porcupine.Operation
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return 0 },
	Step: func(state, input, output any) (bool, any) {
		was, in, out := state.(int), input.(call), output.(answer)
		switch in.op {
		case opGet:
			return out.value == was, was
		case opPut:
			return true, in.value
		case opDelete:
			return out.done == (was != 0), 0
		case opAdd:
			if was != 0 {
				return !out.done && out.value == was, was
			}
			return out.done, in.value
		default:
			if was%2 == 1 {
				return out.done, 0
			}
			return !out.done, was
		}
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

// do runs an operation on the map. A value is the bytes of its decimal number.
func do(t *testing.T, m *Map, in call) (out answer) {
	number := func(value []byte) (n int) {
		if _, err := fmt.Sscan(string(value), &n); err != nil {
			t.Errorf("%q is no value", value)
		}
		return n
	}
	key, value := fmt.Sprint("key ", in.key), fmt.Appendf(nil, "%d", in.value)
	switch in.op {
	case opGet:
		s := m.Domain().Enter()
		if i := m.Lookup([]byte(key)); i.Found() {
			out.value = number(i.Value())
		}
		s.Exit()
	case opPut:
		if err := m.Put(key, value); err != nil {
			t.Error(err)
		}
	case opDelete:
		out.done = m.Delete(key)
	case opAdd:
		err := m.Update([]byte(key), len(value), func(old, fresh Item) Change {
			if old.Found() {
				out.value = number(old.Value())
				return Keep
			}
			copy(fresh.Value(), value)
			out.done = true
			return Replace
		})
		if err != nil {
			t.Error(err)
		}
	case opTake:
		out.done = m.DeleteIf([]byte(key), func(i Item) bool { return number(i.Value())%2 == 1 })
	}
	return out
}

// TestLinearizable records what several goroutines do with a few keys, and when, and has porcupine
// look for an order of all operations in which each of them could have happened at one instant
// between its call and its return. The table grows meanwhile.
func TestLinearizable(t *testing.T) {
	const goroutines, keys, opsEach, rounds = 4, 4, 150, 20
	seed := testutil.Seed(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4 * runtime.NumCPU()))
	for round := range rounds {
		m := newMap(t)
		histories := make([][]porcupine.Operation, goroutines)
		begin := time.Now()
		var working sync.WaitGroup
		for g := range goroutines {
			working.Go(func() {
				random := rand.New(rand.NewPCG(seed, uint64(round*goroutines+g)))
				for n := range opsEach {
					in := call{key: random.IntN(keys), op: random.IntN(opCount), value: 1 + g + goroutines*n}
					op := porcupine.Operation{ClientId: g, Input: in, Call: time.Since(begin).Nanoseconds()}
					op.Output = do(t, m, in)
					op.Return = time.Since(begin).Nanoseconds()
					histories[g] = append(histories[g], op)
					if random.IntN(8) == 0 {
						runtime.Gosched()
					}
				}
			})
		}
		m.grow(base)
		working.Wait()
		var all []porcupine.Operation
		for _, h := range histories {
			all = append(all, h...)
		}
		if !porcupine.CheckOperations(register, all) {
			t.Fatalf("round %d: no order explains what was returned", round)
		}
		closeMap(t, m)
	}
}

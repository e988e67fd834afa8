package loops

import (
	"encoding/binary"
	"errors"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/tables"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// maps is one of the maps that rcu-map compares, filled to nine tenths.
type maps struct {
	spec  workload.Spec
	table tables.Table
	keys  []string
}

func openMap(entrant string, s workload.Spec) (arm, error) {
	t, err := tables.Open(entrant)
	if err != nil {
		return nil, err
	}
	a := &maps{s, t, tables.Keys(s.Live)}
	v, value := t.View(), make([]byte, s.Size)
	defer v.Close()
	for i, key := range a.keys {
		if i%(workload.RCUMapPuts+1) == 0 {
			continue
		}
		if err := v.Put(key, value); err != nil {
			return nil, errors.Join(err, a.close())
		}
	}
	return a, nil
}

func (*maps) backdrop() func() (map[string]float64, error) { return quiet() }
func (a *maps) close() error                               { return a.table.Close() }

func (a *maps) worker(thread int, _ *shared) (worker, error) {
	s, v := a.spec, a.table.View()
	random, value := workload.NewRandom(s.Seed, thread), make([]byte, s.Size)
	gets, weight, sum := uint32(s.Gets), s.Weight(), new(uint64)
	puts := (100 - gets) * workload.RCUMapPuts / (workload.RCUMapPuts + 1)
	return worker{stop: v.Close, sum: sum, loop: func(n int) error {
		for i := range n {
			key := a.keys[random.Draw(uint32(len(a.keys)))]
			switch roll := random.Draw(100); {
			case roll < gets:
				word, _ := v.Get(key)
				*sum = *sum*weight + word
			case roll < gets+puts:
				binary.LittleEndian.PutUint64(value, uint64(i))
				if err := v.Put(key, value); err != nil {
					return err
				}
			default:
				v.Delete(key)
			}
		}
		return nil
	}}, nil
}

package tables

import (
	"github.com/slubd/slubd/examples/rcu-map/offmap"
	"github.com/slubd/slubd/rcu"
)

// offHeap is slubd's: readers are registered and report after each operation, as one that
// serves requests would.
type offHeap struct {
	domain rcu.Domain
	*offmap.Map
}

func openOffHeap() (Table, error) {
	t := new(offHeap)
	var err error
	t.Map, err = offmap.New(offmap.Config{Name: "bench-map", Domain: &t.domain})
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (t *offHeap) View() View { return &offHeapView{t.Map, t.domain.Register("slubd-bench")} }

type offHeapView struct {
	table  *offmap.Map
	reader *rcu.Reader
}

func (v *offHeapView) Get(key string) (word uint64, found bool) {
	v.reader.Lock()
	value, found := v.table.Get(key)
	if found {
		word = first(value)
	}
	v.reader.Unlock()
	v.reader.Quiescent()
	return word, found
}

func (v *offHeapView) Put(key string, value []byte) error {
	err := v.table.Put(key, value)
	v.reader.Quiescent()
	return err
}

func (v *offHeapView) Delete(key string) {
	v.table.Delete(key)
	v.reader.Quiescent()
}

func (v *offHeapView) Close() { v.reader.Close() }

package tables

import (
	"encoding/binary"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// All three do what a map does, so that the workloads compare the same work.
func TestTablesAreMaps(t *testing.T) {
	for _, entrant := range []string{workload.Slubd, workload.SyncMap, workload.Sharded} {
		table, err := Open(entrant)
		if err != nil {
			t.Fatal(err)
		}
		v, keys, value := table.View(), Keys(3000), make([]byte, 64)
		random, model := workload.NewRandom(1, 0), map[string]uint64{}
		for i := range uint64(20_000) {
			key := keys[random.Draw(uint32(len(keys)))]
			want, there := model[key]
			if got, found := v.Get(key); found != there || got != want {
				t.Fatalf("%s: %q is %d, %v instead of %d, %v", entrant, key, got, found, want, there)
			}
			if random.Draw(4) == 0 {
				v.Delete(key)
				delete(model, key)
				continue
			}
			binary.LittleEndian.PutUint64(value, i)
			if err := v.Put(key, value); err != nil {
				t.Fatal(err)
			}
			model[key] = i
		}
		if n := table.Len(); n != len(model) {
			t.Errorf("%s: %d keys of %d", entrant, n, len(model))
		}
		v.Close()
		if err := table.Close(); err != nil {
			t.Errorf("%s: %v", entrant, err)
		}
	}
	if _, err := Open(workload.Pool); err == nil {
		t.Error("sync.Pool is a map")
	}
}

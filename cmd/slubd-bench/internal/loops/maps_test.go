package loops

import (
	"encoding/binary"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// TestMapsMatchGoMap checks that all three maps do the same, so that the workloads compare the same
// work.
func TestMapsMatchGoMap(t *testing.T) {
	for _, name := range []string{workload.Slubd, workload.SyncMap, workload.Sharded} {
		table, err := newTable(name)
		if err != nil {
			t.Fatal(err)
		}
		v, keys, value := table.view(), mapKeys(3000), make([]byte, 64)
		random, model := workload.NewRandom(1, 0), map[string]uint64{}
		for i := range uint64(20_000) {
			key := keys[random.Draw(uint32(len(keys)))]
			want, there := model[key]
			if got, found := v.get(key); found != there || got != want {
				t.Fatalf("%s: %q is %d, %v instead of %d, %v", name, key, got, found, want, there)
			}
			if random.Draw(4) == 0 {
				v.remove(key)
				delete(model, key)
				continue
			}
			binary.LittleEndian.PutUint64(value, i)
			if err := v.put(key, value); err != nil {
				t.Fatal(err)
			}
			model[key] = i
		}
		found := 0
		for _, key := range keys {
			if _, there := v.get(key); there {
				found++
			}
		}
		if found != len(model) {
			t.Errorf("%s: %d keys of %d", name, found, len(model))
		}
		v.close()
		if err := table.close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := newTable(workload.Pool); err == nil {
		t.Error("no error for sync.Pool, which is not a map")
	}
}

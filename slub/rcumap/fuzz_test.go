package rcumap

import (
	"bytes"
	"errors"
	"maps"
	"testing"

	"github.com/slubd/slubd/rcu"
)

// FuzzMap reads operations from bytes: the operation, the length of a key and of a value, and the
// key. It compares the map with a Go map after each, and both at the end.
func FuzzMap(f *testing.F) {
	f.Add([]byte("\x00\x01\x05a\x01\x01\x00a\x02\x01\x00a"))
	f.Add([]byte("\x03\x02\xffkk\x03\x02\x01kk\x04\x02\x01kk\x05\x00\x00"))
	f.Add(bytes.Repeat([]byte("\x00\x02\x10abc"), 100))
	f.Fuzz(func(t *testing.T, program []byte) {
		m, err := New(Config{Domain: new(rcu.Domain)})
		if errors.Is(err, errors.ErrUnsupported) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		model := map[string]string{}
		for len(program) >= 3 {
			op, keyLen, valueLen := program[0], min(int(program[1]), len(program)-3), int(program[2])
			key := string(program[3 : 3+keyLen])
			program = program[3+keyLen:]
			value := bytes.Repeat([]byte{op}, valueLen*8)
			_, there := model[key]
			switch op % 6 {
			case 0:
				if err := m.Put(key, value); err != nil {
					t.Fatal(err)
				}
				model[key] = string(value)
			case 1:
				if got, found := m.Append(nil, key); found != there || string(got) != model[key] {
					t.Fatalf("Append(%q) is %q, %v", key, got, found)
				}
			case 2:
				if m.Delete(key) != there {
					t.Fatalf("Delete(%q) is %v", key, !there)
				}
				delete(model, key)
			case 3:
				change := Change(op / 6 % 3)
				err := m.Update([]byte(key), len(value), func(old, fresh Item) Change {
					if old.Found() != there || there && string(old.Value()) != model[key] {
						t.Errorf("Update(%q) is shown %v", key, old.Found())
					}
					copy(fresh.Value(), value)
					return change
				})
				if err != nil {
					t.Fatal(err)
				}
				switch change {
				case Replace:
					model[key] = string(value)
				case Remove:
					delete(model, key)
				}
			case 4:
				agree := valueLen%2 == 0
				if m.DeleteIf([]byte(key), func(Item) bool { return agree }) != (agree && there) {
					t.Fatalf("DeleteIf(%q) is %v", key, !there)
				}
				if agree {
					delete(model, key)
				}
			case 5:
				if slots := m.mask.Load() + 1; slots < 1<<14 {
					m.grow(slots)
				}
			}
		}
		if got := contents(m); !maps.Equal(got, model) {
			t.Fatalf("%q instead of %q", got, model)
		}
		if seen := scan(m, 3); len(seen) != len(model) {
			t.Fatalf("Scan shows %d keys of %d", len(seen), len(model))
		}
		checkList(t, m)
		closeMap(t, m)
	})
}

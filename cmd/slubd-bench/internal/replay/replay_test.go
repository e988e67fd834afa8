package replay

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/hooks/trace"
)

// record writes a trace with objects of 100 and 3 bytes, the second of which stays in use.
func record(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	r, err := trace.New(&b, trace.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []hooks.Object{{Addr: 8, Size: 100}, {Addr: 16, Size: 3}} {
		r.Alloc(o)
	}
	r.Free(hooks.Object{Addr: 8})
	r.Alloc(hooks.Object{Addr: 8, Size: 100})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func write(t *testing.T, name string, text []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestCycle(t *testing.T) {
	file := write(t, "a.trace", record(t))
	r, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	want := []Event{
		{Number: 0, Size: 100}, {Number: 1, Size: 8}, {Number: 0}, {Number: 0, Size: 100}, {Number: 0}, {Number: 1},
	}
	if !slices.Equal(r.Events, want) || r.Objects != 2 || r.Pairs() != 3 || r.Peak != 103 {
		t.Errorf("%+v", r)
	}
	if !slices.Equal(r.Sizes, []uint32{100, 8}) || !slices.Equal(r.Classes, []uint32{0, 1, 0, 0, 0, 1}) {
		t.Errorf("sizes %v, classes %v", r.Sizes, r.Classes)
	}
	// Objects are freed in the order 0, 3, 1 of the events that allocate them.
	if sum := r.Checksum(10); sum != 31 {
		t.Errorf("the checksum is %d", sum)
	}
	if sum := r.Checksum(1); sum != 4 {
		t.Errorf("the sum is %d", sum)
	}
	if !strings.HasPrefix(r.Note, "a.trace: a cycle of 3 objects") || strings.Contains(r.Note, ";") {
		t.Errorf("%q", r.Note)
	}
	if again, err := Load(file); again != r || err != nil {
		t.Errorf("the file was read again, %v", err)
	}
}

func TestTracesThatAreNotWhole(t *testing.T) {
	whole := record(t)
	for n := range len(whole) {
		r, err := Load(write(t, "cut.trace", whole[:n]))
		switch {
		case err == nil && (r.Pairs() == 0 || !strings.Contains(r.Note, "it was cut")):
			t.Errorf("%d bytes: %+v", n, r)
		case err != nil && !errors.Is(err, trace.ErrTruncated):
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	var b bytes.Buffer
	recorder, err := trace.New(&b, trace.Config{MaxEvents: 1})
	if err != nil {
		t.Fatal(err)
	}
	recorder.Alloc(hooks.Object{Addr: 8, Size: 8})
	recorder.Free(hooks.Object{Addr: 8})
	if err := recorder.Close(); !errors.Is(err, trace.ErrEvents) {
		t.Fatal(err)
	}
	if r, err := Load(write(t, "early.trace", b.Bytes())); err != nil || !strings.Contains(r.Note, trace.ErrEvents.Error()) {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestErrors(t *testing.T) {
	var empty bytes.Buffer
	recorder, err := trace.New(&empty, trace.Config{})
	if err == nil {
		err = recorder.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	for want, file := range map[error]string{
		fs.ErrNotExist:     filepath.Join(t.TempDir(), "nowhere"),
		trace.ErrFormat:    write(t, "other", []byte("a text file of some length")),
		trace.ErrTruncated: write(t, "nothing", nil),
		ErrEmpty:           write(t, "empty", empty.Bytes()),
	} {
		if _, err := Load(file); !errors.Is(err, want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%v, want %v", err, want)
		}
	}
}

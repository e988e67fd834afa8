package trace

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

// body is what the gzip stream of a trace contains: records of pairs of a kind and a value.
func body(records ...uint64) []byte {
	b := []byte(magic)
	for i := 0; i+1 < len(records); i += 2 {
		b = appendRecord(b, int(records[i]), records[i+1])
	}
	return b
}

func zipped(t testing.TB, raw []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	if _, err := zip.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// end appends the number of events behind the end's own record.
func end(raw []byte, events uint64) []byte {
	return binary.AppendUvarint(appendRecord(raw, kindEnd, 0), events)
}

func TestReadRefusesHostileTraces(t *testing.T) {
	long := append([]byte(magic), bytes.Repeat([]byte{0xff}, 11)...)
	for _, c := range []struct {
		name string
		raw  []byte
		want error
	}{
		{"another format", []byte("slubtrc2 and more"), ErrFormat},
		{"short and another", []byte("gz"), ErrFormat},
		{"nothing", nil, ErrTruncated},
		{"part of the magic", []byte(magic[:3]), ErrTruncated},
		{"no end", body(), ErrTruncated},
		{"no end, with objects", body(kindAlloc, 64, kindFree, 0), ErrTruncated},
		{"half a number", append(body(), 0x80), ErrTruncated},
		{"no number of events", body(kindAlloc, 64, kindEnd, 0), ErrTruncated},
		{"object of no bytes", end(body(kindAlloc, 0), 1), ErrFormat},
		{"object of 4 GiB", end(body(kindAlloc, MaxSize+1), 1), ErrFormat},
		{"free of what never was", end(body(kindFree, 0), 1), ErrFormat},
		{"free of a huge number", end(body(kindAlloc, 8, kindFree, 1<<32), 2), ErrFormat},
		{"free of the largest number", end(body(kindAlloc, 8, kindFree, 1<<62-1), 2), ErrFormat},
		{"free twice", end(body(kindAlloc, 8, kindFree, 0, kindFree, 0), 3), ErrFormat},
		{"another number of events", end(body(kindAlloc, 8), 2), ErrFormat},
		{"unknown reason", append(body(kindEnd, 99), 0), ErrFormat},
		{"more after the end", append(end(body(), 0), 0), ErrFormat},
		{"time overflows", end(body(kindTime, 1<<62-1, kindTime, 1<<62-1), 0), ErrFormat},
		{"time overflows slowly", end(body(kindTime, maxPassed, kindTime, 1), 0), ErrFormat},
		{"number of 77 bits", long, ErrFormat},
		{"number of 65 bits", append(append([]byte(magic), bytes.Repeat([]byte{0xff}, 9)...), 2), ErrFormat},
		{"too many events", end(body(kindAlloc, 8, kindAlloc, 8, kindAlloc, 8, kindAlloc, 8), 4), ErrLimit},
		{"too many bytes", end(body(kindAlloc, 600, kindAlloc, 401), 2), ErrLimit},
		{"good", end(body(kindAlloc, 600, kindTime, 5, kindFree, 0, kindAlloc, 1000), 3), nil},
	} {
		got, err := Read(bytes.NewReader(zipped(t, c.raw)), Limits{Events: 3, Peak: 1000})
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v", c.name, err)
		}
		if (got != nil) != (c.want == nil || c.name != "nothing" && c.name != "part of the magic" && errors.Is(c.want, ErrTruncated)) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	for name, raw := range map[string][]byte{"text": []byte("not a gzip stream"), "zeroes": make([]byte, 100)} {
		if _, err := Read(bytes.NewReader(raw), Limits{}); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := zipped(t, end(body(kindAlloc, 600, kindFree, 0), 2))
	damaged := bytes.Clone(good)
	damaged[len(damaged)-5] ^= 1 // in the checksum and length
	if _, err := Read(bytes.NewReader(damaged), Limits{}); !errors.Is(err, ErrFormat) {
		t.Errorf("another checksum: %v", err)
	}
	errDisk := errors.New("I/O error")
	for n := range len(good) {
		_, err := Read(io.MultiReader(bytes.NewReader(good[:n]), iotest.ErrReader(errDisk)), Limits{})
		if !errors.Is(err, errDisk) {
			t.Errorf("an error of the input after %d bytes: %v", n, err)
		}
	}
}

// A file that was cut anywhere has the events before, and its error says that they are not all.
func TestCutTraces(t *testing.T) {
	var b bytes.Buffer
	p := newProgram(t, &b, Config{})
	p.run(300)
	if err := p.recorder.Close(); err != nil {
		t.Fatal(err)
	}
	for n := range b.Len() {
		got, err := Read(bytes.NewReader(b.Bytes()[:n]), Limits{})
		if !errors.Is(err, ErrTruncated) {
			t.Fatalf("the first %d bytes of %d: %v", n, b.Len(), err)
		}
		if got == nil {
			continue
		}
		for i, e := range got.Events {
			if e != p.events[i] {
				t.Fatalf("the first %d bytes: event %d is %+v, not %+v", n, i, e, p.events[i])
			}
		}
	}
}

// FuzzRead reads what a gzip stream might contain: errors have a type, memory is bounded by input
// and limits, and what is accepted is a sequence in which each free has its allocation.
func FuzzRead(f *testing.F) {
	f.Add(end(body(kindAlloc, 64, kindTime, 3, kindAlloc, 5000, kindFree, 0, kindAlloc, 8), 4))
	f.Add(body(kindAlloc, 64, kindFree, 0, kindFree, 0))
	f.Add(append(body(kindEnd, 3), 0))
	f.Fuzz(func(t *testing.T, raw []byte) {
		const most, peak = 1000, 1 << 20
		got, err := read(bufio.NewReader(bytes.NewReader(raw)), Limits{Events: most, Peak: peak})
		if err != nil && !errors.Is(err, ErrFormat) && !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrLimit) {
			t.Fatalf("an error without a type: %v", err)
		}
		if got == nil {
			return
		}
		if n := len(got.Events); n > most || n > len(raw) || got.Objects > n || got.Peak > peak {
			t.Fatalf("%d bytes make %d events, %d objects, %d bytes in use", len(raw), n, got.Objects, got.Peak)
		}
		sizes := make([]uint32, got.Objects)
		for i, e := range got.Events {
			if (e.Size == 0) == (sizes[e.Number] == 0) {
				t.Fatalf("event %d is %+v, and the object has %d bytes", i, e, sizes[e.Number])
			}
			sizes[e.Number] = e.Size
		}
	})
}

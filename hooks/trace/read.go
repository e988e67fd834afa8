package trace

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"time"
)

// Event is an allocation or a free.
type Event struct {
	Number uint32 // of the object
	Size   uint32 // bytes allocated; 0: the object is freed
}

// Trace is what Read has read.
type Trace struct {
	Events  []Event
	Objects int           // numbers are less than this: the most objects in use at a time
	Peak    int64         // most bytes in use at a time
	Passed  time.Duration // from the start of the recording to its last event, in Resolution
	// Ended is why the recording has ended before it was closed: ErrObjects, ErrEvents, ErrOverrun
	// or ErrTooLarge; nil if it was closed.
	Ended error
}

// Limits bound the memory that Read and a replay take. In every field 0 means automatic.
type Limits struct {
	Events int   // most events, 8 bytes each; automatic: 16,777,216
	Peak   int64 // most bytes in use at a time; automatic: 64 GiB
}

const autoPeak = 64 << 30

// maxPassed is the longest time that a trace can take, in units of Resolution: 28,000 years.
const maxPassed = 1 << 53

// Read reads a trace. Its memory is bounded by l, whatever r has. The error wraps ErrFormat,
// ErrTruncated, ErrLimit or r's own error. With ErrTruncated the trace has what is there, all of it
// valid: a program that was killed leaves such a file.
func Read(r io.Reader, l Limits) (*Trace, error) {
	automatic(&l.Events, autoEvents)
	automatic(&l.Peak, autoPeak)
	zip, err := gzip.NewReader(r)
	if err != nil {
		return nil, inputError(0, err)
	}
	return read(bufio.NewReader(zip), l)
}

// reader is the state of Read.
type reader struct {
	in     *bufio.Reader
	limits Limits
	trace  *Trace
	number numbers
	sizes  []uint32 // by number; 0: it is free
	bytes  int64    // in use
	ticks  uint64
}

// read reads what a gzip stream contains.
func read(in *bufio.Reader, l Limits) (*Trace, error) {
	var head [len(magic)]byte
	if n, err := io.ReadFull(in, head[:]); err != nil && (n == 0 || string(head[:n]) == magic[:n]) {
		return nil, inputError(0, err)
	}
	if string(head[:]) != magic {
		return nil, fmt.Errorf("trace: %w: it begins with %q, not with %q", ErrFormat, head[:], magic)
	}
	d := &reader{in: in, limits: l, trace: &Trace{}}
	for {
		record, err := d.varint()
		kind, value := int(record&(1<<kindBits-1)), record>>kindBits
		if err != nil {
			return d.result(err)
		}
		if kind == kindEnd {
			return d.result(d.end(value))
		}
		if err := d.record(kind, value); err != nil {
			return nil, err
		}
	}
}

// result returns the trace if it is usable.
func (d *reader) result(err error) (*Trace, error) {
	if err != nil && !errors.Is(err, ErrTruncated) {
		return nil, err
	}
	d.trace.Objects = int(d.number.next)
	d.trace.Passed = time.Duration(d.ticks) * Resolution
	return d.trace, err
}

// record adds what a record says.
func (d *reader) record(kind int, value uint64) error {
	n := len(d.trace.Events)
	if kind == kindTime {
		if d.ticks += value; value > maxPassed || d.ticks > maxPassed {
			return atEvent(n, ErrFormat, "the time overflows")
		}
		return nil
	}
	if n >= d.limits.Events {
		return atEvent(n, ErrLimit, "there are more")
	}
	event := Event{Number: uint32(value)}
	switch {
	case kind == kindFree && (value >= uint64(len(d.sizes)) || d.sizes[value] == 0):
		return atEvent(n, ErrFormat, "object %d is freed, which is not in use", value)
	case kind == kindFree:
		d.bytes -= int64(d.sizes[value])
		d.sizes[value] = 0
		d.number.put(event.Number)
	case value == 0 || value > MaxSize:
		return atEvent(n, ErrFormat, "an object has %d bytes", value)
	case int64(value) > d.limits.Peak-d.bytes:
		return atEvent(n, ErrLimit, "more than %d bytes are in use", d.limits.Peak)
	default:
		event = Event{Number: d.number.take(), Size: uint32(value)}
		if int(event.Number) == len(d.sizes) {
			d.sizes = append(d.sizes, 0)
		}
		d.sizes[event.Number] = event.Size
		d.bytes += int64(value)
		d.trace.Peak = max(d.trace.Peak, d.bytes)
	}
	d.trace.Events = append(d.trace.Events, event)
	return nil
}

// end reads what follows the end's own record.
func (d *reader) end(reason uint64) error {
	n := len(d.trace.Events)
	if reason >= uint64(len(reasons)) {
		return atEvent(n, ErrFormat, "the reason for the end is %d", reason)
	}
	d.trace.Ended = reasons[reason]
	events, err := d.varint()
	if err != nil {
		return err
	}
	if events != uint64(n) {
		return atEvent(n, ErrFormat, "the end says that there are %d", events)
	}
	switch _, err := d.in.ReadByte(); err {
	case io.EOF:
		return nil // gzip has compared its checksum
	case nil:
		return atEvent(n, ErrFormat, "the end is followed by something")
	default:
		return inputError(n, err)
	}
}

// varint reads a number.
func (d *reader) varint() (value uint64, err error) {
	for shift := 0; shift < 64; shift += 7 {
		b, err := d.in.ReadByte()
		if err != nil {
			return 0, inputError(len(d.trace.Events), err)
		}
		if shift == 63 && b > 1 {
			break
		}
		value |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return value, nil
		}
	}
	return 0, atEvent(len(d.trace.Events), ErrFormat, "a number has more than 64 bits")
}

// inputError says what an error of the input means.
func inputError(events int, err error) error {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return atEvent(events, ErrTruncated, "the input ends")
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.As(err, &corrupt):
		return atEvent(events, ErrFormat, "%v", err)
	}
	return fmt.Errorf("trace: %w", err)
}

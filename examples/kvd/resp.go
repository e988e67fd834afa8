package main

import (
	"bytes"
	"errors"
	"io"
	"strconv"
)

// protocolError is what a client did that its connection can't go on after. Its text is Redis's.
type protocolError string

func (e protocolError) Error() string { return "Protocol error: " + string(e) }

// errTooLarge reports a request above reader.limit.
var errTooLarge = errors.New("request exceeds the limit of -max-request")

const (
	// firstBuffer is the room for requests that a connection has as long as it needs no more.
	firstBuffer = 8 << 10
	// maxLine bounds a line: an inline command, or the header of an array or a bulk string.
	maxLine = 16 << 10
)

// A reader cuts a client's bytes into requests. A request is an array of bulk strings or, for
// people with telnet, a line of words. The buffer grows by what has arrived, never by what a header
// announces, so a client takes as much memory as it has sent bytes, up to limit.
type reader struct {
	src   io.Reader
	limit int // bytes of one request

	buf        []byte
	start, end int // of the bytes that are in buf; start is where the current request begins

	// Of the current request, so that what has arrived of it is not parsed again:
	at    int // first byte that is not parsed, from start on
	left  int // arguments to come; noHeader before the array's header
	bulk  int // length of the bulk string that comes next; noHeader before its header
	marks []int
	args  [][]byte
}

const noHeader = -1

func newReader(src io.Reader, limit int) *reader {
	return &reader{src: src, limit: limit, left: noHeader, bulk: noHeader}
}

// next returns the arguments of the next request, which are valid until the next call of next or
// fill; nil if its bytes have not all arrived. The error is a protocolError or errTooLarge.
func (r *reader) next() (args [][]byte, err error) {
	for {
		done, err := r.parse()
		if err != nil || !done {
			return nil, err
		}
		args = r.args[:0]
		for i := 0; i < len(r.marks); i += 2 {
			args = append(args, r.buf[r.start+r.marks[i]:r.start+r.marks[i+1]])
		}
		r.args = args
		r.start += r.at
		r.at, r.left, r.bulk, r.marks = 0, noHeader, noHeader, r.marks[:0]
		if len(args) > 0 {
			return args, nil
		}
		// An empty line or array is no request, and gets no answer.
	}
}

// fill reads more bytes, once.
func (r *reader) fill() error {
	switch {
	case r.start == r.end && cap(r.buf) > firstBuffer:
		// A large request is over. Its arguments refer to the buffer.
		r.buf, r.start, r.end, r.marks, r.args = nil, 0, 0, nil, nil
	case r.start > 0:
		r.end = copy(r.buf, r.buf[r.start:r.end])
		r.start = 0
	}
	if r.end == len(r.buf) {
		grown := make([]byte, max(firstBuffer, 2*len(r.buf)))
		copy(grown, r.buf[:r.end])
		r.buf = grown
	}
	n, err := r.src.Read(r.buf[r.end:])
	r.end += n
	if n > 0 {
		return nil
	}
	return err
}

// parse goes on with the current request, and reports whether it is complete.
func (r *reader) parse() (done bool, err error) {
	if r.left == noHeader {
		line, err := r.line()
		if line == nil || err != nil {
			return false, err
		}
		if line[0] != '*' {
			r.inline(line)
			return true, nil
		}
		n, ok := number(line)
		if !ok || n > r.limit/minArgument {
			return false, protocolError("invalid multibulk length")
		}
		r.left = max(0, n)
	}
	for ; r.left > 0; r.left-- {
		if r.bulk == noHeader {
			line, err := r.line()
			if line == nil || err != nil {
				return false, err
			}
			if line[0] != '$' {
				return false, protocolError("expected '$', got '" + printable(line[0]) + "'")
			}
			n, ok := number(line)
			if !ok || n < 0 {
				return false, protocolError("invalid bulk length")
			}
			if n > r.limit-r.at {
				return false, errTooLarge
			}
			r.bulk = n
		}
		begin, stop := r.at, r.at+r.bulk
		if r.end-r.start < stop+2 {
			return false, nil
		}
		if r.buf[r.start+stop] != '\r' || r.buf[r.start+stop+1] != '\n' {
			return false, protocolError("invalid bulk length")
		}
		r.marks = append(r.marks, begin, stop)
		r.at, r.bulk = stop+2, noHeader
	}
	return true, nil
}

// minArgument is the least number of bytes that an argument takes: $0, and two ends of lines.
const minArgument = 6

// line returns the next line with its end, nil if that has not arrived, and goes behind it.
func (r *reader) line() (line []byte, err error) {
	rest := r.buf[r.start+r.at : r.end]
	n := bytes.IndexByte(rest, '\n')
	if n > maxLine || n < 0 && len(rest) > maxLine {
		return nil, protocolError("too big inline request")
	}
	if n < 0 {
		return nil, nil
	}
	if r.at += n + 1; r.at > r.limit {
		return nil, errTooLarge
	}
	return rest[:n+1], nil
}

// inline takes the words of a line, which begins at the request's first byte, as arguments.
func (r *reader) inline(line []byte) {
	for i := 0; i < len(line); {
		begin := i
		for i < len(line) && !isSpace(line[i]) {
			i++
		}
		if i > begin {
			r.marks = append(r.marks, begin, i)
		}
		for i < len(line) && isSpace(line[i]) {
			i++
		}
	}
}

func isSpace(b byte) bool { return b == ' ' || b == '\t' || b == '\r' || b == '\n' }

// number reads the decimal number of a header, which ends with \r\n.
func number(header []byte) (n int, ok bool) {
	digits, ok := bytes.CutSuffix(header[1:], []byte("\r\n"))
	if !ok || len(digits) == 0 || len(digits) > 11 || digits[0] == '+' {
		return 0, false
	}
	n, err := strconv.Atoi(string(digits))
	return n, err == nil
}

// integer reads an argument that is a decimal number as Redis writes it: without a plus, a leading
// zero, or -0. A value is a number only in this one form, so that INCR changes no value that a
// program means as text, such as 007.
func integer(arg []byte) (n int64, ok bool) {
	digits := bytes.TrimPrefix(arg, []byte("-"))
	if len(digits) == 0 || digits[0] < '0' || digits[0] == '0' && len(arg) > 1 || digits[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseInt(string(arg), 10, 64)
	return n, err == nil
}

// printable returns a byte for an error's text.
func printable(b byte) string {
	if b < ' ' || b > '~' {
		return "?"
	}
	return string(b)
}

// The functions below append a reply to what a client gets.

func appendOK(dst []byte) []byte   { return append(dst, "+OK\r\n"...) }
func appendNull(dst []byte) []byte { return append(dst, "$-1\r\n"...) }

func appendInt(dst []byte, n int64) []byte { return appendHeader(dst, ':', n) }

// appendArray appends the header of an array, which n replies must follow.
func appendArray(dst []byte, n int) []byte { return appendHeader(dst, '*', int64(n)) }

func appendHeader(dst []byte, kind byte, n int64) []byte {
	return append(strconv.AppendInt(append(dst, kind), n, 10), '\r', '\n')
}

func appendBulk[T ~string | ~[]byte](dst []byte, s T) []byte {
	dst = append(appendHeader(dst, '$', int64(len(s))), s...)
	return append(dst, '\r', '\n')
}

// appendError appends an error. A text can't hold an end of line, which would end the reply.
func appendError(dst []byte, text string) []byte {
	dst = append(dst, '-')
	for i := range len(text) {
		if c := text[i]; c == '\r' || c == '\n' {
			dst = append(dst, ' ')
		} else {
			dst = append(dst, c)
		}
	}
	return append(dst, '\r', '\n')
}

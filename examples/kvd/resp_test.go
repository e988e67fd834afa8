package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tidwall/redcon"
)

// requests reads all requests of src, each as the quoted text of its arguments, and the error that
// ended them; nil at the end of src.
func requests(src io.Reader, limit int) (texts []string, err error) {
	r := newReader(src, limit)
	for {
		args, err := r.next()
		switch {
		case err != nil:
			return texts, err
		case args != nil:
			texts = append(texts, fmt.Sprintf("%q", args))
			continue
		}
		if err := r.fill(); err == io.EOF {
			return texts, nil
		} else if err != nil {
			return texts, err
		}
	}
}

func TestRequests(t *testing.T) {
	for _, c := range []struct {
		name, bytes, want, err string
	}{
		{"array", "*2\r\n$3\r\nGET\r\n$1\r\na\r\n", `["GET" "a"]`, ""},
		{"binary", "*1\r\n$4\r\n\r\n\x00\xff\r\n", `["\r\n\x00\xff"]`, ""},
		{"empty argument", "*2\r\n$4\r\necho\r\n$0\r\n\r\n", `["echo" ""]`, ""},
		{"pipeline", "*1\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\nping\r\n", `["a"] ["b"] ["ping"]`, ""},
		{"inline", "  set a\tb \r\nping\n", `["set" "a" "b"] ["ping"]`, ""},
		{"nothing", "\r\n\n*0\r\n*-1\r\n  \r\n", ``, ""},
		{"not complete", "*2\r\n$3\r\nGET\r\n$1\r\n", ``, ""},
		{"no dollar", "*1\r\n:1\r\n", ``, "Protocol error: expected '$', got ':'"},
		{"strange byte", "*1\r\n\x01\r\n", ``, "Protocol error: expected '$', got '?'"},
		{"no number", "*x\r\n", ``, "Protocol error: invalid multibulk length"},
		{"plus", "*+1\r\n", ``, "Protocol error: invalid multibulk length"},
		{"bare end of line", "*1\n", ``, "Protocol error: invalid multibulk length"},
		{"too many", "*99999999\r\n", ``, "Protocol error: invalid multibulk length"},
		{"overflow", "*1\r\n$99999999999999999999\r\n", ``, "Protocol error: invalid bulk length"},
		{"negative", "*1\r\n$-1\r\n", ``, "Protocol error: invalid bulk length"},
		{"wrong end", "*1\r\n$1\r\nabc\r\n", ``, "Protocol error: invalid bulk length"},
		{"announced too large", "*1\r\n$2000\r\n", ``, errTooLarge.Error()},
		{"too large in parts", "*2\r\n$600\r\n" + strings.Repeat("x", 600) + "\r\n$600\r\n", ``, errTooLarge.Error()},
		{"long line", strings.Repeat("x", maxLine+2), ``, "Protocol error: too big inline request"},
		{"after a good one", "ping\r\n*z\r\n", `["ping"]`, "Protocol error: invalid multibulk length"},
	} {
		for how, src := range map[string]io.Reader{
			"at once":      strings.NewReader(c.bytes),
			"byte by byte": iotest.OneByteReader(strings.NewReader(c.bytes)),
		} {
			got, err := requests(src, 1024)
			if strings.Join(got, " ") != c.want || (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
				t.Errorf("%s, %s: %v, %v", c.name, how, got, err)
			}
		}
	}
}

// TestBufferFollowsWhatArrives announces a large argument: the buffer must not grow before its
// bytes come, and shrink behind it.
func TestBufferFollowsWhatArrives(t *testing.T) {
	const size = 1 << 20
	r := newReader(io.MultiReader(strings.NewReader(fmt.Sprintf("*2\r\n$3\r\nGET\r\n$%d\r\n", size)),
		bytes.NewReader(make([]byte, size)), strings.NewReader("\r\n"), strings.NewReader("ping\r\n")), 64<<20)
	if err := r.fill(); err != nil {
		t.Fatal(err)
	}
	if args, err := r.next(); args != nil || err != nil || cap(r.buf) > firstBuffer {
		t.Errorf("%v, %v, a buffer of %d bytes", args, err, cap(r.buf))
	}
	for range 2 {
		for {
			args, err := r.next()
			if err != nil {
				t.Fatal(err)
			}
			if args != nil {
				break
			}
			if err := r.fill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if cap(r.buf) > firstBuffer {
		t.Errorf("a buffer of %d bytes is left", cap(r.buf))
	}
	for _, arg := range r.args[:cap(r.args)] {
		if cap(arg) > firstBuffer {
			t.Errorf("a buffer of %d bytes is left, to which an old argument refers", cap(arg))
		}
	}
}

func TestErrorsHoldNoEndOfLine(t *testing.T) {
	if got := string(appendError(nil, "ERR a\r\nb")); got != "-ERR a  b\r\n" {
		t.Errorf("%q", got)
	}
}

// FuzzReader cuts any bytes into requests: at once, and in pieces, which must make no difference.
// redcon's parser, which has nothing in common with this one, must find the same first request.
func FuzzReader(f *testing.F) {
	for _, s := range []string{"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", "ping\r\n", "*0\r\n*1\r\n$0\r\n\r\n",
		"*1\r\n$-1\r\n", "*3\r\n$3\r\nset\r\n$1\r\nk\r\n$5\r\nva\r\nl\r\n"} {
		f.Add([]byte(s), uint64(1))
	}
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		const limit = 4096
		atOnce, err := requests(bytes.NewReader(data), limit)
		pieces, err2 := requests(&pieces{data, rand.New(rand.NewPCG(seed, 0))}, limit)
		if !slices.Equal(atOnce, pieces) || !errors.Is(err, err2) {
			t.Fatalf("%q, %v at once, %q, %v in pieces", atOnce, err, pieces, err2)
		}
		if len(data) == 0 || data[0] != '*' {
			return // redcon's lines have quotes
		}
		r := newReader(bytes.NewReader(data), limit)
		if r.fill() != nil {
			return
		}
		args, err := r.next()
		if err != nil || args == nil || !bytes.HasPrefix(data, []byte("*"+fmt.Sprint(len(args))+"\r\n")) {
			return
		}
		other, err := redcon.Parse(data[:r.start])
		if err != nil || !slices.EqualFunc(args, other.Args, bytes.Equal) {
			t.Fatalf("%q, redcon says %q, %v", args, other.Args, err)
		}
	})
}

// pieces is a reader that returns a few bytes at a time.
type pieces struct {
	data   []byte
	random *rand.Rand
}

func (p *pieces) Read(dst []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := copy(dst, p.data[:min(len(p.data), 1+p.random.IntN(40))])
	p.data = p.data[n:]
	return n, nil
}

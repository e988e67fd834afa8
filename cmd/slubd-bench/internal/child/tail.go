package child

import "strings"

// tailSize is how many bytes of a child's stderr are kept: a Go crash names
// its reason at the beginning, a C library at the end, so both ends are kept.
const tailSize = 2048

// tail is an io.Writer that keeps the beginning and the end of a text.
type tail struct{ head, end []byte }

func (t *tail) Write(text []byte) (int, error) {
	n := min(len(text), tailSize-len(t.head))
	t.head = append(t.head, text[:n]...)
	t.end = append(t.end, text[n:]...)
	if extra := len(t.end) - tailSize; extra > 0 {
		t.end = append(t.end[:0], t.end[extra:]...)
	}
	return len(text), nil
}

// text returns what was kept, after a colon, or nothing. Call it after Wait,
// when nobody writes any more.
func (t *tail) text() string {
	text := strings.TrimSpace(string(t.head) + string(t.end))
	if text == "" {
		return ""
	}
	return ": " + text
}

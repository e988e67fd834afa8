//go:build cgo

package machine

const cgo = true

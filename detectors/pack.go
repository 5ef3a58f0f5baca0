package detectors

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
)

// The large arrays of a state are kept in snapshots as base64 of their bits: half the size of their digits, and NaN,
// which JSON has no word for, is in its place.

type (
	days     []float32
	peakRing [peakCount]float32
	peakGaps [peakCount]uint16
)

func packed[T float32 | uint16](v []T) ([]byte, error) {
	b, err := binary.Append(make([]byte, 0, binary.Size(v)), binary.LittleEndian, v)
	if err != nil {
		return nil, fmt.Errorf("pack numbers: %w", err)
	}
	return base64.StdEncoding.AppendEncode(make([]byte, 0, base64.StdEncoding.EncodedLen(len(b))), b), nil
}

func unpacked(b []byte) ([]byte, error) {
	raw, err := base64.StdEncoding.AppendDecode(make([]byte, 0, base64.StdEncoding.DecodedLen(len(b))), b)
	if err != nil {
		return nil, fmt.Errorf("packed numbers: %w", err)
	}
	return raw, nil
}

func unpack[T float32 | uint16](b []byte, v []T) error {
	raw, err := unpacked(b)
	if err != nil {
		return err
	}
	if want := binary.Size(v); len(raw) != want {
		return fmt.Errorf("packed numbers: %d bytes, want %d", len(raw), want)
	}
	if _, err := binary.Decode(raw, binary.LittleEndian, v); err != nil {
		return fmt.Errorf("packed numbers: %w", err)
	}
	return nil
}

// UnmarshalText takes as many days as there are; usable says whether they are as many as they should.
func (d *days) UnmarshalText(b []byte) error {
	raw, err := unpacked(b)
	if err != nil {
		return err
	}
	*d = make(days, len(raw)/4)
	return unpack(b, *d)
}

// They are text and not JSON of their own, which encoding/json would read through once more.

func (d days) MarshalText() ([]byte, error)      { return packed(d) }
func (u usual) MarshalText() ([]byte, error)     { return packed(u[:]) }
func (u *usual) UnmarshalText(b []byte) error    { return unpack(b, u[:]) }
func (p peakRing) MarshalText() ([]byte, error)  { return packed(p[:]) }
func (p *peakRing) UnmarshalText(b []byte) error { return unpack(b, p[:]) }
func (p peakGaps) MarshalText() ([]byte, error)  { return packed(p[:]) }
func (p *peakGaps) UnmarshalText(b []byte) error { return unpack(b, p[:]) }

//! Scaled dot-product attention with several heads.

use candle_core::{CpuStorage, CustomOp3, D, Layout, Shape, Tensor};
use rayon::prelude::*;
use std::marker::PhantomData;

use super::float::{Float, for_dtype, is_native, read, tensor, values};
use super::gemm::{Matrix, Onto, product};
use crate::{Error, ErrorKind, Result};

/// `softmax(scale * Q K^T) V` of each head in each sequence (Vaswani et al. 2017, equation 1, with a scale of the caller's).
///
/// Queries and keys are `[batch, sequence, token, channel]`, the values as well with channels of their own, in which the output comes;
/// `heads` divides both numbers of channels, and the channels of one head lie together.
///
/// # Errors
/// [`ErrorKind::Tensor`] if the shapes do not fit.
pub fn attention([queries, keys, values]: [&Tensor; 3], heads: usize, scale: f64) -> Result<Tensor> {
    let mismatch = || {
        let found = [queries, keys, values].map(|tensor| tensor.dims().to_vec());
        let message = format!("attention of {heads} heads on queries, keys and values {found:?}");
        Error::new(ErrorKind::Tensor, message).hint("expected three of [batch, sequence, token, channel]")
    };
    let (&[batch, sequences, tokens, query_channels], &[.., value_channels]) = (queries.dims(), values.dims()) else {
        return Err(mismatch());
    };
    let fits = keys.dims() == queries.dims()
        && values.dims() == [batch, sequences, tokens, value_channels]
        && values.elem_count() * queries.elem_count() > 0
        && [query_channels, value_channels].iter().all(|channels| heads > 0 && channels.is_multiple_of(heads));
    if !fits {
        return Err(mismatch());
    }
    if !is_native(queries) {
        return composed([queries, keys, values], heads, scale);
    }
    for_dtype!(queries, T => {
        let operation = AttentionRows::<T>::new(tokens, heads, [query_channels, value_channels], scale);
        Ok(queries.contiguous()?.apply_op3(&keys.contiguous()?, &values.contiguous()?, operation)?)
    })
}

/// From Candle's own operations, for other devices and element types.
fn composed([queries, keys, values]: [&Tensor; 3], heads: usize, scale: f64) -> Result<Tensor> {
    let (batch, sequences, tokens, _) = queries.dims4()?;
    let by_head = |x: &Tensor| -> Result<Tensor> {
        Ok(x.reshape((batch * sequences, tokens, heads, ()))?.transpose(1, 2)?.contiguous()?)
    };
    let (queries, keys, values) = (by_head(queries)?, by_head(keys)?, by_head(values)?);
    let scores = (queries.matmul(&keys.t()?.contiguous()?)? * scale)?;
    let shares = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
    let shares = shares.broadcast_div(&shares.sum_keepdim(D::Minus1)?)?;
    let out = shares.matmul(&values)?.transpose(1, 2)?.contiguous()?;
    Ok(out.reshape((batch, sequences, tokens, ()))?)
}

/// The operation on sequences of rows `[token, channel]` that lie one after the other.
pub(crate) struct AttentionRows<T> {
    tokens: usize,
    heads: usize,
    /// Channels of a head in queries and keys, and in values.
    widths: [usize; 2],
    scale: f64,
    element: PhantomData<T>,
}

/// Queries, keys and values of one sequence, each `[token, channel]`.
#[derive(Clone, Copy)]
struct Sequence<'a, T> {
    queries: &'a [T],
    keys: &'a [T],
    values: &'a [T],
}

impl<T: Float> AttentionRows<T> {
    /// `channels` are those of queries and keys, and of values.
    pub fn new(tokens: usize, heads: usize, channels: [usize; 2], scale: f64) -> Self {
        Self { tokens, heads, widths: channels.map(|channels| channels / heads), scale, element: PhantomData }
    }

    /// The output for queries, keys and values.
    pub fn forward(&self, operands: [&[T]; 3], out: &mut [T]) {
        let sequences = out.par_chunks_mut(self.tokens * self.value_channels()).enumerate();
        sequences.for_each(|(at, out)| self.sequence_forward(self.sequence(operands, at), out));
    }

    /// Gradients by queries, keys and values; empty where `is_wanted` says so.
    pub fn backward(&self, operands: [&[T]; 3], gradient: &[T], is_wanted: [bool; 3]) -> [Vec<T>; 3] {
        let room = |which: usize| match is_wanted[which] {
            true => vec![T::zero(); operands[which].len()],
            false => Vec::new(),
        };
        let mut found = [room(0), room(1), room(2)];
        let length = self.tokens * self.value_channels();
        // Of a gradient that is not wanted there is nothing to be cut into parts.
        let mut parts: Vec<[Option<&mut [T]>; 3]> = (0..gradient.len() / length).map(|_| [None, None, None]).collect();
        let channels = [self.query_channels(), self.query_channels(), self.value_channels()];
        for ((which, all), channels) in found.iter_mut().enumerate().zip(channels) {
            let chunks = all.chunks_exact_mut(self.tokens * channels);
            parts.iter_mut().zip(chunks).for_each(|(parts, chunk)| parts[which] = Some(chunk));
        }
        let jobs = parts.into_par_iter().zip(gradient.par_chunks(length)).enumerate();
        jobs.for_each(|(at, (parts, gradient))| {
            self.sequence_backward(self.sequence(operands, at), gradient, parts);
        });
        found
    }

    fn query_channels(&self) -> usize {
        self.heads * self.widths[0]
    }

    fn value_channels(&self) -> usize {
        self.heads * self.widths[1]
    }

    /// The part `[token, width]` of one head in rows of `[token, channel]`.
    fn head<'a>(&self, rows: &'a [T], head: usize, width: usize) -> Matrix<'a, T> {
        Matrix::new(&rows[head * width..], [self.tokens, width], self.heads * width)
    }

    /// Writes the part of one head.
    fn put(&self, part: &[T], rows: &mut [T], head: usize, width: usize) {
        let rows = rows.chunks_exact_mut(self.heads * width).zip(part.chunks_exact(width));
        rows.for_each(|(row, part)| row[head * width..][..width].copy_from_slice(part));
    }

    /// `softmax(scale * Q K^T)` of one head, `[token, token]`: how much of each value a token takes.
    fn shares(&self, of: Sequence<'_, T>, head: usize, shares: &mut [T]) {
        let ([width, _], scale) = (self.widths, T::from_f64(self.scale));
        let (queries, keys) = (self.head(of.queries, head, width), self.head(of.keys, head, width));
        product(shares, Onto::Nothing, queries, keys.transposed());
        for row in shares.chunks_exact_mut(self.tokens) {
            row.iter_mut().for_each(|value| *value *= scale);
            let largest = row.iter().fold(row[0], |largest, value| if *value > largest { *value } else { largest });
            let mut total = T::zero();
            for value in row.iter_mut() {
                *value = (*value - largest).exp();
                total += *value;
            }
            row.iter_mut().for_each(|value| *value /= total);
        }
    }

    fn sequence_forward(&self, of: Sequence<'_, T>, out: &mut [T]) {
        let (tokens, [_, width]) = (self.tokens, self.widths);
        T::with_scratch(tokens * tokens + tokens * width, |scratch| {
            let (shares, part) = scratch.split_at_mut(tokens * tokens);
            for head in 0..self.heads {
                self.shares(of, head, shares);
                let weights = Matrix::new(shares, [tokens, tokens], tokens);
                product(part, Onto::Nothing, weights, self.head(of.values, head, width));
                self.put(part, out, head, width);
            }
        });
    }

    /// Gradients by queries, keys and values of one sequence, as far as there is room for them.
    fn sequence_backward(
        &self,
        of: Sequence<'_, T>,
        gradient: &[T],
        [by_queries, by_keys, by_values]: [Option<&mut [T]>; 3],
    ) {
        let (tokens, [query_width, value_width]) = (self.tokens, self.widths);
        let (mut by_queries, mut by_keys, mut by_values) = (by_queries, by_keys, by_values);
        let (square, scale) = (tokens * tokens, T::from_f64(self.scale));
        T::with_scratch(2 * square + tokens * query_width.max(value_width), |scratch| {
            let (shares, rest) = scratch.split_at_mut(square);
            let (slopes, part) = rest.split_at_mut(square);
            for head in 0..self.heads {
                self.shares(of, head, shares);
                let by_out = self.head(gradient, head, value_width);
                if let Some(by_values) = &mut by_values {
                    let weights = Matrix::new(shares, [tokens, tokens], tokens);
                    product(part, Onto::Nothing, weights.transposed(), by_out);
                    self.put(&part[..tokens * value_width], by_values, head, value_width);
                }
                if by_queries.is_none() && by_keys.is_none() {
                    continue;
                }
                product(slopes, Onto::Nothing, by_out, self.head(of.values, head, value_width).transposed());
                for (slopes, shares) in slopes.chunks_exact_mut(tokens).zip(shares.chunks_exact(tokens)) {
                    let mut mean = T::zero();
                    slopes.iter().zip(shares).for_each(|(slope, share)| mean += *slope * *share);
                    let both = slopes.iter_mut().zip(shares);
                    both.for_each(|(slope, share)| *slope = (*slope - mean) * *share * scale);
                }
                let slopes = Matrix::new(slopes, [tokens, tokens], tokens);
                for (out, slopes, other) in
                    [(&mut by_queries, slopes, of.keys), (&mut by_keys, slopes.transposed(), of.queries)]
                {
                    if let Some(out) = out {
                        product(part, Onto::Nothing, slopes, self.head(other, head, query_width));
                        self.put(&part[..tokens * query_width], out, head, query_width);
                    }
                }
            }
        });
    }

    /// The sequence at a place.
    fn sequence<'a>(&self, [queries, keys, values]: [&'a [T]; 3], at: usize) -> Sequence<'a, T> {
        let (query, value) = (self.tokens * self.query_channels(), self.tokens * self.value_channels());
        Sequence {
            queries: &queries[at * query..][..query],
            keys: &keys[at * query..][..query],
            values: &values[at * value..][..value],
        }
    }
}

impl<T: Float> CustomOp3 for AttentionRows<T> {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        queries: &CpuStorage,
        queries_layout: &Layout,
        keys: &CpuStorage,
        keys_layout: &Layout,
        values_storage: &CpuStorage,
        values_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let all = [
            values::<T>(queries, queries_layout)?,
            values::<T>(keys, keys_layout)?,
            values::<T>(values_storage, values_layout)?,
        ];
        let mut out = vec![T::zero(); all[2].len()];
        self.forward(all, &mut out);
        Ok((T::to_cpu_storage_owned(out), values_layout.shape().clone()))
    }

    fn bwd(
        &self,
        queries: &Tensor,
        keys: &Tensor,
        values: &Tensor,
        _out: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let is_wanted = [queries, keys, values].map(|argument| argument.track_op());
        let found = read::<T, _>(queries, |queries| {
            read::<T, _>(keys, |keys| {
                read::<T, _>(values, |values| {
                    read::<T, _>(gradient, |gradient| Ok(self.backward([queries, keys, values], gradient, is_wanted)))
                })
            })
        })?;
        let [by_queries, by_keys, by_values] = found;
        let of = |argument: &Tensor, values: Vec<T>| {
            (!values.is_empty()).then(|| tensor(values, argument.shape())).transpose()
        };
        Ok((of(queries, by_queries)?, of(keys, by_keys)?, of(values, by_values)?))
    }
}

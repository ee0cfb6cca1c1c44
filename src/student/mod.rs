//! The student: a trainable decoder, its tokenizer and its weights. It knows nothing of questions or rationales.

pub mod ops;

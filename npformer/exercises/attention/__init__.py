"""Chapter 2, attention: masks, heads, caches, and their gradients."""

from npformer.exercises.attention import (
    backward,
    causal_mask,
    cross_attention,
    fully_masked_row,
    kv_cache,
    multi_head_backward,
    online_softmax,
    padding_mask,
    scaled_dot_product,
    scores_gradient,
    split_heads,
)

# In the order of the course.
EXERCISES = (
    *scaled_dot_product.EXERCISES,
    *padding_mask.EXERCISES,
    *causal_mask.EXERCISES,
    *fully_masked_row.EXERCISES,
    *backward.EXERCISES,
    *scores_gradient.EXERCISES,
    *split_heads.EXERCISES,
    *multi_head_backward.EXERCISES,
    *cross_attention.EXERCISES,
    *kv_cache.EXERCISES,
    *online_softmax.EXERCISES,
)
